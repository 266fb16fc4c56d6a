// Sends what the viewer stores, a moment after the last change, and at once when the page is left.
// A failure loses nothing on the page: the next change sends everything again.

import { csrfToken, renewToken } from "../base.js";

const DELAY = 400;

export class Saver {
  #timer = 0;
  /** @type {object | null} */
  #value = null;
  /** @type {Promise<unknown>} */
  #sending = Promise.resolve();

  /** `url` null: nothing is stored.
      @param {string | null} url */
  constructor(url) {
    this.url = url;
    addEventListener("pagehide", () => this.now());
  }

  /** Stores the value, unless another one follows within a moment.
      @param {object} value */
  later(value) {
    if (!this.url) return;
    this.#value = value;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.now(), DELAY);
  }

  now() {
    clearTimeout(this.#timer);
    if (this.#value === null) return;
    const body = JSON.stringify(this.#value);
    this.#value = null;
    this.#sending = Promise.all([this.#sending, this.#send(body, true)]);
  }

  /** Resolves once everything has been sent. */
  async settled() {
    this.now();
    await this.#sending;
  }

  /** @param {string} body  @param {boolean} mayRenew */
  async #send(body, mayRenew) {
    const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" };
    const response = await fetch(this.url, { method: "POST", body, headers, keepalive: true }).catch(/** @returns {null} */ () => null);
    if (response?.status === 400 && mayRenew && await renewToken()) await this.#send(body, false);
  }
}
