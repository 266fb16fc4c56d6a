// Signing: the stated finding with what is on the screen, after a fresh proof of identity, and addenda.

import { csrfToken, newId, renewToken } from "../base.js";
import { isMarked } from "./critical.js";
import { NOT_STORED } from "../viewer/drawn_saver.js";
import { _ } from "../language.js";

/** @typedef {{ sign: string, add: string }} SignUrls */

export class Signing {
  /** @type {Promise<boolean> | null} */
  #signing = null;
  #sent = "";  // what was tried last, and its id: tried again, it is signed once
  #id = "";

  /** @param {HTMLElement} section  @param {import("./review.js").Review} review
      @param {{ view(): { pictures: import("../viewer/view_state.js").ViewState[] } | null, seeAgain(): Promise<void>, isDrawnStored(): Promise<boolean> }} page */
  constructor(section, review, page) {
    this.review = review;
    this.page = page;
    /** @type {SignUrls} */
    this.urls = JSON.parse(section.dataset.sign);
    this.status = section.querySelector("#sign-status");
    /** Loaded once it is asked for: most signatures follow a proof that still holds.
        @type {import("./proof.js").Proof | null} */
    this.proof = null;
    /** @type {HTMLTextAreaElement} */
    this.text = section.querySelector("#addendum-text");
    const form = /** @type {HTMLFormElement} */ (section.querySelector("#addendum"));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.#add(); });
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.#add(); }
      if (event.key === "Escape") this.text.blur();
    });
  }

  get isSigning() { return Boolean(this.#signing); }

  /** Whether leaving now would lose something. */
  get isOpen() { return Boolean(this.#signing || this.text.value.trim()); }

  /** Signs the stated finding, or with `agree` that of the AI; resolves to whether it is signed. */
  sign(agree = false) {
    this.#signing ??= this.#sign(agree).finally(() => { this.#signing = null; });
    return this.#signing;
  }

  /** @param {boolean} agree */
  async #sign(agree) {
    await this.review.settled();
    const { known, hindrance } = this.review;
    const finding = agree ? known.agree : known.stated.finding;
    if (hindrance) return this.#show(hindrance, true);
    if (!finding) return this.#show(agree ? _("There is no AI result to agree with.") : _("Choose a finding first, then sign."), true);
    this.#show(_("Signing …"));
    if (!(await this.page.isDrawnStored())) return this.#show(NOT_STORED, true);
    const sent = this.review.body(finding);
    const body = {
      ...Object.fromEntries(["finding", "size", "reason", "comment", "after"].map((name) => [name, sent.get(name)])),
      critical: isMarked(sent),
      shown: known.shown, view: this.page.view(),
    };
    const text = JSON.stringify(body);
    if (text !== this.#sent) { this.#sent = text; this.#id = newId(); }
    const answer = await this.#post(this.urls.sign, { id: this.#id, ...body });
    if (answer.ok) {
      this.review.took(String(sent.get("comment")));
      document.getElementById("addendum-more").hidden = false;
      await this.page.seeAgain().catch(() => {});
      return this.#show(answer.is_new ? _("Signed.") : _("Signed before: nothing has changed since."));
    }
    if (answer.status === 409) await this.page.seeAgain().catch(() => {});
    return this.#show(answer.detail, true);
  }

  async #add() {
    const place = document.getElementById("addendum-status");
    const text = this.text.value;
    if (!text.trim()) return;
    if (text !== this.#sent) { this.#sent = text; this.#id = newId(); }
    place.textContent = _("Adding …");
    const answer = await this.#post(this.urls.add, { id: this.#id, text });
    place.textContent = answer.ok ? _("Added.") : answer.detail;
    place.classList.toggle("bad", !answer.ok);
    if (!answer.ok) return;
    if (this.text.value === text) this.text.value = "";
    await this.page.seeAgain().catch(() => {});
  }

  // What is asked for first, a proof of identity or a new form token, is got, and the same sent again.
  /** @param {string} url  @param {object} body
      @returns {Promise<Record<string, any> & { ok: boolean, status: number, detail: string }>} */
  async #post(url, body, renewed = false) {
    try {
      const response = await fetch(url, {
        method: "POST", body: JSON.stringify(body),
        headers: { "Accept": "application/json", "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
      });
      const answer = await response.json().catch(() => ({}));
      if (answer.code === "csrf" && !renewed && await renewToken()) return this.#post(url, body, true);
      if (answer.code === "confirm") {
        const { Proof } = await import("./proof.js");
        this.proof ??= new Proof(/** @type {HTMLDialogElement} */ (document.getElementById("proof")));
        if (await this.proof.ask()) return this.#post(url, body);
        return { ok: false, status: 401, detail: _("Not signed: your identity was not confirmed. What you wrote is still here.") };
      }
      return { detail: _("It was not signed. Try again."), ...answer, ok: response.ok, status: response.status };
    } catch {
      return { ok: false, status: 0, detail: _("The portal cannot be reached; it may not be signed. Try again: it is signed once.") };
    }
  }

  /** @param {string} text  @returns {boolean} whether it went well */
  #show(text, bad = false) {
    this.status.textContent = text;
    this.status.classList.toggle("bad", bad);
    return !bad;
  }
}
