// The reader's review: A and U save at once, D asks for a reason first. Every save is a new version;
// nothing is overwritten.

import { csrfToken, renewToken } from "../base.js";
import { refreshTimes } from "../time.js";

export class Review {
  #pending = null;
  #saving = null;   // the last save, until it has ended
  #warned = false;
  #dropped = false; // the reader was warned and leaves without saving

  constructor(form) {
    this.form = form;
    this.reason = form.elements.reason;
    this.comment = form.elements.comment;
    this.status = form.querySelector("#review-status");
    this.save = document.getElementById("review-save");
    this.buttons = [...form.querySelectorAll("[name=verdict]")];
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.choose(event.submitter?.name === "verdict" ? event.submitter.value : this.#pending);
    });
    this.save.addEventListener("click", () => this.#saveAgain());
    this.reason.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.#saveAgain(); }
      if (event.key === "Escape") { this.#setPending(null); this.reason.blur(); }
    });
    this.comment.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.#saveAgain(); }
      if (event.key === "Escape") this.comment.blur();
    });
    for (const field of [this.reason, this.comment]) field.addEventListener("input", () => this.#offerSave());
  }

  /** The current verdict, null before the first. */
  current() { return this.buttons.find((b) => b.getAttribute("aria-pressed") === "true")?.value ?? null; }

  /** Whether leaving now would lose something. */
  get isOpen() { return Boolean(this.#saving || (!this.#dropped && (this.#pending || this.comment.value.trim()))); }

  #saveAgain() {
    if (this.#pending) this.choose(this.#pending);
    else if (this.current()) this.#send(this.current()); // a further comment on the same verdict
    else this.#show("Choose agree, disagree or unsure first.", true);
  }

  choose(verdict) {
    if (verdict === "disagree" && !this.reason.value) {
      this.#setPending("disagree");
      this.#show("Choose the reason, then Enter.");
      this.reason.focus();
      return;
    }
    this.#send(verdict);
  }

  #setPending(verdict) {
    this.#pending = verdict;
    for (const button of this.buttons) button.classList.toggle("pending", button.value === verdict);
    this.#offerSave();
  }

  #offerSave() {
    this.#warned = false;
    this.save.hidden = !(this.#pending || (this.current() && (this.comment.value.trim() || this.reason.value)));
  }

  #show(text, bad = false) {
    this.status.textContent = text;
    this.status.classList.toggle("bad", bad);
  }

  /** True once it is safe to leave the case: saves have arrived, and no comment is lost. */
  async mayLeave() {
    if (this.#saving && !(await this.#saving)) return false;
    if (this.#warned || !(this.comment.value.trim() || this.#pending)) { this.#dropped = true; return true; }
    this.#warned = true;
    this.#show("Not saved yet. Save, or leave again to discard it.", true);
    return false;
  }

  // One after the other: a second verdict while the first is being saved counts as well.
  #send(verdict) {
    this.#show("Saving …");
    const saving = (this.#saving ?? Promise.resolve()).then(() => this.#post(verdict));
    this.#saving = saving;
    saving.finally(() => { if (this.#saving === saving) this.#saving = null; });
  }

  // Resolves to whether it was saved.
  async #post(verdict, renewed = false) {
    const body = new FormData(this.form);
    body.set("verdict", verdict);
    body.set("csrf_token", csrfToken());
    if (verdict === "agree") body.set("reason", "");
    const sent = { focus: document.activeElement, comment: this.comment.value, reason: this.reason.value };
    try {
      const response = await fetch(this.form.action, { method: "POST", body, headers: { Accept: "application/json" }, keepalive: true });
      const answer = await response.json().catch(() => ({}));
      if (answer.code === "csrf" && !renewed && await renewToken()) return this.#post(verdict, true);
      if (!response.ok) throw new Error(answer.detail || "It was not saved. Try again.");
      this.#saved(verdict, answer, sent);
      return true;
    } catch (error) {
      const offline = error instanceof TypeError;
      this.#show(offline ? "The portal cannot be reached; nothing was saved. Try again." : /** @type {Error} */ (error).message, true);
    }
    return false;
  }

  #addVersion(line) {
    const history = document.getElementById("review-history");
    const list = history.querySelector("ol");
    list.insertAdjacentHTML("afterbegin", line);
    refreshTimes(list);
    const count = list.children.length;
    history.querySelector("[data-count]").textContent = `${count} version${count === 1 ? "" : "s"}`;
    history.hidden = false;
  }

  // Text typed since the save was sent stays, and so does the focus.
  #saved(verdict, answer, sent) {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.value === verdict));
    this.#addVersion(answer.line);
    document.getElementById("review-current").textContent = answer.label;
    if (this.comment.value === sent.comment) this.comment.value = "";
    if (this.reason.value === sent.reason) this.reason.value = "";
    this.#setPending(null);
    this.#show(`${answer.label}. Saved.`);
    const unmoved = document.activeElement === sent.focus && this.form.contains(sent.focus);
    if (unmoved && !this.comment.value) sent.focus.blur();
  }
}
