// Critical findings of a case: the box beside the verdict, and the panel that records who was informed.

import { csrfToken } from "../base.js";
import { refreshTimes } from "../time.js";
import { _ } from "../language.js";

/** @typedef {{ html: string, checked: boolean, offered: string }} Shown  the panel, and how the box stands */

/** Whether a review's form calls its finding critical; null where the portal decides, as by the side of a known one.
    @param {FormData} sent */
export function isMarked(sent) {
  if (sent.get("critical") === "yes") return true;
  return sent.get("critical_offered") === "1" ? false : null;
}

/** Whether somebody writes a record in a part of the page, so that it is not replaced.
    @param {Element} part */
export function isBeingWritten(part) {
  return part.id === "critical-panel" && Boolean(part.querySelector("#critical-record[open]"));
}

export class Critical {
  /** `isStated`: whether the reader has stated a pneumothorax, so that the box acts at once. `after` does something once
      all saves have ended, which set the box. `hindrance`: why the box can't be changed now, "" where it can.
      @param {() => boolean} isStated  @param {(act: () => Promise<boolean>) => void} after  @param {() => string} hindrance */
  constructor(isStated, after, hindrance) {
    this.isStated = isStated;
    this.after = after;
    this.hindrance = hindrance;
    /** @type {HTMLInputElement | null} */
    this.box = document.querySelector("#critical-box");
    this.box?.addEventListener("change", () => this.#choose(this.box.checked));
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
      "critical": () => { if (this.box && !this.box.disabled) this.#choose(!this.box.checked); },
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
    if (!this.box) return;
    this.box.checked = shown.checked;
    /** @type {HTMLInputElement} */ (document.getElementById("critical-offered")).value = shown.offered;
  }

  /** @param {boolean} isCritical */
  #choose(isCritical) {
    const reason = this.hindrance();
    this.box.checked = reason ? !isCritical : isCritical;
    if (reason) tell(document.getElementById("review-status"), reason);
    else this.after(() => this.#mark(isCritical));
  }

  // Before there is a finding the box is sent with it.
  /** @param {boolean} isCritical */
  async #mark(isCritical) {
    this.box.checked = isCritical;
    if (!this.isStated()) return true;
    const body = new FormData();
    body.set("critical", isCritical ? "yes" : "no");
    return this.#send(this.box.dataset.actionUrl, body, document.getElementById("review-status"));
  }

  /** @param {string} url  @param {FormData} body  @param {Element | null} status */
  async #send(url, body, status, keeps = true) {
    body.set("csrf_token", csrfToken());
    tell(status, "");
    try {
      const response = await fetch(url, { method: "POST", body, headers: { Accept: "application/json" }, keepalive: true });
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) throw new Error(answer.detail || _("It was not saved. Try again."));
      this.show(answer, keeps);
      return true;
    } catch (error) {
      const offline = error instanceof TypeError;
      tell(status, offline ? _("The portal cannot be reached; nothing was saved. Try again.") : /** @type {Error} */ (error).message);
      if (this.box && body.has("critical")) this.box.checked = body.get("critical") !== "yes";
      return false;
    }
  }
}

/** @param {Element | null} status  @param {string} text */
function tell(status, text) {
  if (!status) return;
  status.textContent = text;
  status.classList.toggle("bad", Boolean(text));
}
