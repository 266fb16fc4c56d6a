// The small dialog that asks who the reader is, over the case: nothing written there is lost.

import { csrfToken, renewToken } from "../base.js";
import { signed } from "../passkey.js";
import { _ } from "../language.js";

export class Proof {
  /** @type {((proved: boolean) => void) | null} */
  #done = null;

  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.dialog = dialog;
    /** @type {HTMLFormElement} */
    this.form = dialog.querySelector("form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(new FormData(this.form));
    });
    const passkey = /** @type {HTMLButtonElement} */ (dialog.querySelector("[data-proof=passkey]"));
    passkey.hidden = !window.PublicKeyCredential;
    passkey.addEventListener("click", () => this.#passkey());
    dialog.querySelector("[data-proof=cancel]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#end(false));
  }

  /** Resolves to whether the reader has shown who they are. */
  ask() {
    this.#end(false);
    this.form.reset();
    this.#trouble("");
    this.dialog.showModal();
    /** @type {HTMLElement} */ (this.form.querySelector("[type=password], [name=code]")).focus();
    return new Promise((/** @type {(proved: boolean) => void} */ done) => { this.#done = done; });
  }

  /** @param {boolean} proved */
  #end(proved) {
    const done = this.#done;
    this.#done = null;
    done?.(proved);
  }

  async #passkey() {
    const sent = new FormData(this.form);
    try {
      sent.set("credential", await signed(this.form.dataset.challenge));
    } catch (problem) {
      const cancelled = problem instanceof DOMException;
      this.#trouble((!cancelled && problem instanceof Error && problem.message) || _("No passkey was used. Try again, or use a code."));
      return;
    }
    await this.#send(sent);
  }

  /** @param {FormData} sent */
  async #send(sent, renewed = false) {
    sent.set("csrf_token", csrfToken());
    /** @type {NodeListOf<HTMLButtonElement>} */
    const buttons = this.form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      const response = await fetch(this.form.action, { method: "POST", body: sent, headers: { Accept: "application/json" } });
      const answer = response.ok ? {} : await response.json().catch(() => ({}));
      if (answer.code === "csrf" && !renewed && await renewToken()) { await this.#send(sent, true); return; }
      if (!response.ok) throw new Error(answer.detail || _("It was not accepted. Try again."));
      this.#end(true);
      this.dialog.close();
    } catch (error) {
      const offline = error instanceof TypeError;
      this.#trouble(offline ? _("The portal cannot be reached. Try again.") : /** @type {Error} */ (error).message);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  /** @param {string} text */
  #trouble(text) {
    const place = /** @type {HTMLElement} */ (this.dialog.querySelector("#proof-error"));
    place.hidden = !text;
    place.querySelector("div").textContent = text;
  }
}
