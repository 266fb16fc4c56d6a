// Critical findings of a case: the box beside the verdict, and the panel that records who was informed.

import { csrfToken } from "../base.js";
import { refreshTimes } from "../time.js";

/** @typedef {{ html: string, checked: boolean }} Shown  the panel, and whether the box is checked */

/** Whether somebody writes a record in a part of the page, so that it is not replaced.
    @param {Element} part */
export function isBeingWritten(part) {
  return part.id === "critical-panel" && Boolean(part.querySelector("#critical-record[open]"));
}

export class Critical {
  /** @param {() => boolean} isStated  whether the reader has stated a pneumothorax, so that the box acts at once */
  constructor(isStated) {
    this.isStated = isStated;
    /** @type {HTMLInputElement | null} */
    this.box = document.querySelector("#critical-box");
    this.box?.addEventListener("change", () => this.#mark());
    document.getElementById("panel").addEventListener("submit", (event) => {
      const form = event.target;
      if (!(form instanceof HTMLFormElement) || !form.closest("#critical-panel")) return;
      event.preventDefault();
      const isRecord = form.classList.contains("critical-form");
      this.#send(form.action, new FormData(form), form.querySelector(".save-status"), !isRecord);
    });
  }

  /** Actions by name, for keys. */
  get actions() {
    return {
      "critical": () => { if (this.box && !this.box.disabled) { this.box.checked = !this.box.checked; this.#mark(); } },
      "informed": () => {
        const record = /** @type {HTMLDetailsElement | null} */ (document.getElementById("critical-record"));
        if (!record) return;
        record.open = true;
        document.getElementById("critical-person").focus();
      },
    };
  }

  /** What the portal answered. `keeps`: a record that is being written stays as it is.
      @param {Shown | undefined} shown */
  show(shown, keeps = true) {
    if (!shown) return;
    const page = new DOMParser().parseFromString(shown.html, "text/html");
    const fresh = page.getElementById("critical-panel");
    const old = document.getElementById("critical-panel");
    const record = /** @type {HTMLDetailsElement | null} */ (old.querySelector("#critical-record"));
    const next = /** @type {HTMLDetailsElement | null} */ (fresh.querySelector("#critical-record"));
    if (keeps && record?.open && next) {
      next.querySelector("form").replaceWith(record.querySelector("form"));
      next.open = true;
    }
    old.replaceWith(fresh);
    refreshTimes(fresh);
    if (this.box) this.box.checked = shown.checked;
  }

  // Before there is a finding the box is sent with it.
  #mark() {
    if (!this.isStated()) return;
    const body = new FormData();
    body.set("critical", this.box.checked ? "yes" : "no");
    this.#send(this.box.dataset.actionUrl, body, document.getElementById("review-status"));
  }

  /** @param {string} url  @param {FormData} body  @param {Element | null} status */
  async #send(url, body, status, keeps = true) {
    body.set("csrf_token", csrfToken());
    /** @param {string} text */
    const tell = (text) => { if (status) { status.textContent = text; status.classList.toggle("bad", Boolean(text)); } };
    tell("");
    try {
      const response = await fetch(url, { method: "POST", body, headers: { Accept: "application/json" }, keepalive: true });
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) throw new Error(answer.detail || "It was not saved. Try again.");
      this.show(answer, keeps);
    } catch (error) {
      const offline = error instanceof TypeError;
      tell(offline ? "The portal cannot be reached; nothing was saved. Try again." : /** @type {Error} */ (error).message);
      if (this.box && body.has("critical")) this.box.checked = !this.box.checked;
    }
  }
}
