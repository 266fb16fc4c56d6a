// Tells the portal that a picture was drawn in full and stayed on the screen for a moment: then its reader has had it
// before them, not when the page was opened.

import { csrfToken } from "../base.js";

const MOMENT = 500; // ms

export class Shown {
  #timer = 0;
  #isDrawn = false;
  #isNoted = false;

  /** `url` null: nobody asks.
      @param {string | null} url */
  constructor(url) {
    this.url = url;
    this.onVisibility = () => this.#begin();
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  /** Whether the picture is drawn in full now.
      @param {boolean} isDrawn */
  drawn(isDrawn) {
    this.#isDrawn = isDrawn;
    this.#begin();
  }

  #begin() {
    clearTimeout(this.#timer);
    if (!this.url || this.#isNoted || !this.#isDrawn || document.hidden) return;
    this.#timer = setTimeout(() => this.#note(), MOMENT);
  }

  async #note() {
    this.#isNoted = true;
    const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json" };
    const response = await fetch(this.url, { method: "POST", headers, keepalive: true }).catch(/** @returns {null} */ () => null);
    this.#isNoted = Boolean(response?.ok); // else when the page is seen the next time
  }

  close() {
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}
