// The reader's finding: every key saves at once. Every save is a new version; nothing is overwritten.

import { csrfToken, renewToken } from "../base.js";
import { refreshTimes } from "../time.js";
import { NOT_STORED } from "../viewer/drawn_saver.js";
import { Reasons } from "./reasons.js";
import { _, ngettext } from "../language.js";

/** @typedef {{ finding: string, size: string, reason: string }} Stated  codes, "" for none; of several reasons with commas */

/** What the page shows: the state that a save states as `seen`, the version `after` which it comes,
    the finding by which one agrees with the AI, each finding's reasons.
    @typedef {{
      seen: string, after: string, drawn: string, shown: string, agree: string, stated: Stated, reasons: Record<string, string[]>,
    }} Known */

/** @typedef {{
      elements: { size: HTMLSelectElement, comment: HTMLTextAreaElement }
        & Record<string, HTMLInputElement>,
      querySelectorAll(selectors: "[data-act=finding]"): NodeListOf<HTMLButtonElement>,
    } & HTMLFormElement} ReviewForm */

/** @typedef {{ focus: any, comment: string, size: string, reason: string }} Sent */
/** @typedef {{
      is_new: boolean, after: string, stated: Stated, label: string, line: string, verdict: string, reveals: boolean,
      critical?: object, review: string, drawn: import("../viewer/annotations.js").Annotation[], see_again: boolean,
    }} Saved */

export class Review {
  /** @type {Promise<boolean | void> | null} */
  #saving = null;   // the last save, until it has ended
  #warned = false;
  #dropped = false; // the reader was warned and leaves without saving
  #hindrance = "";
  #isDrawn = false; // something was drawn or removed since the last save
  #reveals = false; // of what the AI found nothing is on the page yet, and may be

  /** `seeAgain` fetches the parts of the page that others have changed, and calls `know`; `isDrawnStored` ends what a
      save waits for, and resolves to whether that is stored; `saved` gets what the portal has answered.
      @param {ReviewForm} form  @param {() => Promise<void>} seeAgain
      @param {() => Promise<boolean>} isDrawnStored  @param {(answer: Saved) => void} saved */
  constructor(form, seeAgain, isDrawnStored, saved) {
    this.form = form;
    this.seeAgain = seeAgain;
    this.isDrawnStored = isDrawnStored;
    this.saved = saved;
    this.size = form.elements.size;
    this.reason = new Reasons(form.querySelector("#review-reasons"));
    this.comment = form.elements.comment;
    this.status = form.querySelector("#review-status");
    this.save = document.getElementById("review-save");
    /** @type {Known} */
    this.known = JSON.parse(form.dataset.known);
    form.addEventListener("submit", (/** @type {SubmitEvent & { submitter: any }} */ event) => {
      event.preventDefault();
      if (event.submitter?.name === "finding") this.choose(event.submitter.value);
    });
    this.save.addEventListener("click", () => this.#saveAgain());
    this.size.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.#saveAgain(); }
      if (event.key === "Escape") this.size.blur();
    });
    this.reason.wire(() => this.#saveAgain(), () => this.#offerSave());
    this.comment.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.#saveAgain(); }
      if (event.key === "Escape") this.comment.blur();
    });
    for (const field of [this.size, this.comment]) field.addEventListener("input", () => this.#offerSave());
    this.#offerChoices();
  }

  /** What the page shows of the case and its versions now; what the reader has entered stays.
      @param {Known & Record<string, any>} known */
  know(known) {
    const untouched = !this.#isChanged;
    this.known = known;
    for (const name of ["seen", "after", "drawn"]) this.form.elements[name].value = known[name];
    if (untouched) { this.size.value = known.stated.size; this.reason.value = known.stated.reason; }
    this.#showStated();
  }

  /** Nothing can be saved as long as there is a hindrance: a sentence, "" for none.
      @param {string} hindrance */
  hinder(hindrance) {
    const before = this.#hindrance;
    this.#hindrance = hindrance;
    this.form.dataset.ready = hindrance ? "no" : "yes";
    const isOff = String(Boolean(hindrance) || this.form.querySelector("fieldset").disabled);
    /** @type {NodeListOf<HTMLButtonElement>} */
    const signing = document.querySelectorAll("#sign .sign-row button");
    for (const button of [...this.form.querySelectorAll("button"), ...signing]) button.setAttribute("aria-disabled", isOff);
    if (hindrance || this.status.textContent === before) this.#show(hindrance);
  }

  /** Tells the reader why nothing was saved.
      @param {string} text */
  say(text) { this.#show(text, true); }

  /** Why nothing can be saved, "" where nothing is in the way. */
  get hindrance() { return this.#hindrance; }

  /** Once every save has ended. */
  async settled() { while (this.#saving) await this.#saving; }

  /** The reader's fields were signed: what was typed since stays.
      @param {string} comment */
  took(comment) {
    if (this.comment.value === comment) this.comment.value = "";
    const { size, reason } = this;
    this.known.stated = { ...this.known.stated, size: size.value, reason: reason.value };
    this.#warned = false;
  }

  /** Whether leaving now would lose something. */
  get isOpen() { return Boolean(this.#saving || (!this.#dropped && this.#isChanged)); }

  get #isChanged() {
    const { size, reason } = this.known.stated;
    return Boolean(this.comment.value.trim()) || this.size.value !== size || this.reason.value !== reason;
  }

  /** Saves a finding; resolves to whether it was saved.
      @param {string} finding */
  choose(finding) {
    if (this.#hindrance) { this.#show(this.#hindrance, true); return Promise.resolve(false); }
    return this.#send(finding);
  }

  /** Saves the finding of the AI. */
  agree() {
    const { agree } = this.known;
    if (agree) return this.choose(agree);
    this.#show(this.#hindrance || this.form.querySelector("#agree-row").textContent.trim(), true);
    return Promise.resolve(false);
  }

  #saveAgain() {
    const { finding } = this.known.stated;
    if (finding) this.choose(finding); // with another size or reason, or a further comment
    else this.#show(_("Choose a finding first: none, right, left, both or unsure."), true);
  }

  /** Something was drawn on the picture: the next version keeps it. */
  drew() {
    this.#isDrawn = true;
    this.#offerSave();
  }

  #offerSave() {
    this.#warned = false;
    this.save.hidden = !(this.known.stated.finding && (this.#isChanged || this.#isDrawn));
  }

  // A size belongs to a pneumothorax, a reason to what was stated beside the AI result.
  #offerChoices() {
    const { finding } = this.known.stated;
    this.size.disabled = finding === "none" || finding === "unsure";
    this.reason.offer(this.#fitting(finding));
    this.#offerSave();
  }

  // Before there is a finding: every reason that some finding has.
  /** @param {string} finding */
  #fitting(finding) {
    const { reasons } = this.known;
    return new Set(finding ? reasons[finding] : Object.values(reasons).flat());
  }

  #showStated() {
    const { finding } = this.known.stated;
    for (const button of this.form.querySelectorAll("[data-act=finding]")) {
      button.setAttribute("aria-pressed", String(button.value === finding));
    }
    this.#offerChoices();
  }

  /** @param {string} text */
  #show(text, bad = false) {
    this.status.textContent = text;
    this.status.classList.toggle("bad", bad);
    if (bad) this.status.scrollIntoView({ block: "nearest" }); // the panel may be longer than the window
  }

  /** True once it is safe to leave the case: saves have arrived, and nothing entered is lost. */
  async mayLeave() {
    if (this.#saving && !(await this.#saving)) return false;
    if (this.#warned || !this.#isChanged) { this.#dropped = true; return true; }
    this.#warned = true;
    this.#show(_("Not saved yet. Save, or leave again to discard it."), true);
    return false;
  }

  // One after the other: a second finding while the first is being saved counts as well.
  /** @param {string} finding */
  #send(finding) {
    this.#show(_("Saving …"));
    return this.afterSaves(() => this.#post(finding));
  }

  /** Does something once the saves before it have ended; saves after it wait for it, and so does who leaves the case.
      Resolves to what it does, whether it went well.
      @param {() => Promise<boolean>} act */
  afterSaves(act) {
    const saving = (this.#saving ?? Promise.resolve()).then(act);
    this.#saving = saving;
    saving.finally(() => {
      if (this.#saving === saving) this.#saving = null;
      if (this.#reveals && !this.isOpen) location.reload(); // the AI result is shown from now on
    });
    return saving;
  }

  /** The fields of a review with this finding.
      @param {string} finding */
  body(finding) {
    const body = new FormData(this.form);
    const isPositive = ["right", "left", "both"].includes(finding);
    body.set("finding", finding);
    // The size of the finding before does not go with another one; one chosen since does.
    const { stated } = this.known;
    const isOfThis = finding === stated.finding || this.size.value !== stated.size;
    body.set("size", isPositive && isOfThis ? this.size.value : "");
    const fitting = this.#fitting(finding);
    body.set("reason", this.reason.value.split(",").filter((one) => fitting.has(one)).join(","));
    body.set("csrf_token", csrfToken());
    return body;
  }

  // Resolves to whether it was saved.
  /** @param {string} finding  @returns {Promise<boolean>} */
  async #post(finding, renewed = false) {
    const sent = { focus: document.activeElement, comment: this.comment.value, size: this.size.value, reason: this.reason.value };
    try {
      if (!(await this.isDrawnStored())) throw new Error(NOT_STORED);
      const response = await fetch(this.form.action, {
        method: "POST", body: this.body(finding), headers: { Accept: "application/json" }, keepalive: true,
      });
      const answer = await response.json().catch(() => ({}));
      if (answer.code === "csrf" && !renewed && await renewToken()) return this.#post(finding, true);
      if (response.status === 409) await this.seeAgain().catch(() => {}); // the sentence counts even so
      if (!response.ok) throw new Error(answer.detail || _("It was not saved. Try again."));
      await this.#saved(answer, sent);
      return true;
    } catch (error) {
      const offline = error instanceof TypeError;
      this.#show(offline ? _("The portal cannot be reached; nothing was saved. Try again.") : /** @type {Error} */ (error).message, true);
    }
    return false;
  }

  /** @param {string} line */
  #addVersion(line) {
    const history = document.getElementById("review-history");
    const list = history.querySelector("ol");
    list.insertAdjacentHTML("afterbegin", line);
    refreshTimes(list);
    const count = list.children.length;
    history.querySelector("[data-count]").textContent = ngettext("%(num)s version", "%(num)s versions", count);
    history.hidden = false;
  }

  // Text typed since the save was sent stays, and so does the focus.
  /** @param {Saved} answer  @param {Sent} sent */
  async #saved(answer, sent) {
    const elsewhere = !answer.is_new && answer.after !== this.known.after;
    if (answer.is_new) this.#addVersion(answer.line);
    else if (elsewhere) await this.seeAgain().catch(() => {});
    this.known.after = this.form.elements.after.value = answer.after;
    this.known.stated = answer.stated;
    this.form.dispatchEvent(new CustomEvent("review-saved", { detail: answer.critical }));
    this.#isDrawn = false;
    this.saved(answer);
    document.getElementById("late-note").replaceChildren(); // it was read now
    document.getElementById("review-current").textContent = answer.label;
    if (answer.verdict) {
      const verdict = document.getElementById("verdict-state");
      verdict.innerHTML = answer.verdict;
      refreshTimes(verdict);
    }
    if (this.comment.value === sent.comment) this.comment.value = "";
    if (this.size.value === sent.size) this.size.value = answer.stated.size;
    if (this.reason.value === sent.reason) this.reason.value = answer.stated.reason;
    this.#showStated();
    document.getElementById("ask-second")?.closest("section").removeAttribute("hidden");
    if (answer.see_again && !answer.reveals) await this.seeAgain().catch(() => {}); // what was hidden until now
    this.#show(elsewhere
      ? _("%(finding)s. It was saved before, in another window.", { finding: answer.label })
      : _("%(finding)s. Saved.", { finding: answer.label }));
    const unmoved = document.activeElement === sent.focus && this.form.contains(sent.focus);
    if (unmoved && !this.comment.value) sent.focus.blur();
    this.#reveals ||= answer.reveals;
  }
}
