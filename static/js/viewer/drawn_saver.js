// Stores what a reader draws on a picture, a moment after the last change, and at once when the page is left. What is
// stored has a version, and names the one that it follows: where another window has stored something meanwhile, the
// portal refuses it and answers what is there. Both are put together then, so that neither is lost.
// What can't be stored now stays on the page and is sent again, until it is; no finding is stored without it.

import { csrfToken, renewToken } from "../base.js";
import { _ } from "../language.js";

/** @typedef {import("./annotations.js").Annotation} Annotation */
/** @typedef {import("./annotations.js").Annotations} Annotations */

export const NOT_STORED = _("Nothing was saved: rulers or arrows could not be stored first. They are still here; try again.");
const DELAY = 400; // ms
const LONGEST_WAIT = 10_000;
const ANSWER = 15_000; // ms: a request without an answer is one that has failed

/** What two windows have made of the same `base`: what one has added is there, what one has removed is not. Those of
    `mine` stay the same objects, one of which may be in the hand.
    @param {Annotation[]} base  @param {Annotation[]} mine  @param {Annotation[]} theirs */
export function joined(base, mine, theirs) {
  /** @param {Annotation[]} items */
  const keys = (items) => new Set(items.map(keyOf));
  const [before, here, there] = [keys(base), keys(mine), keys(theirs)];
  return [
    ...theirs.filter((item) => here.has(keyOf(item)) || !before.has(keyOf(item)))
      .map((item) => mine.find((own) => keyOf(own) === keyOf(item)) ?? item),
    ...mine.filter((item) => !before.has(keyOf(item)) && !there.has(keyOf(item))),
  ];
}

// As the portal keeps it: places to a hundredth, a text without needless spaces.
/** @param {Annotation} item */
function keyOf({ kind, line, text }) {
  return JSON.stringify([kind, line.map((number) => Math.round(number * 100)), text.replace(/\s+/g, " ").trim()]);
}

function newVersion() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class DrawnSaver {
  #timer = 0;
  #isChanged = false;
  #failures = 0;
  #warned = false;
  /** @type {Promise<void> | null} */
  #sending = null;

  /** `url` null: nothing is stored. `joins`: something of another window was added; `refused` gets the reason why
      something is not stored, "" once it is.
      @param {string | null} url  @param {{ picture: string, version: string }} about  @param {Annotations} drawn
      @param {() => void} joins  @param {(text: string) => void} refused */
  constructor(url, { picture, version }, drawn, joins, refused) {
    this.url = url;
    this.picture = picture;
    this.drawn = drawn;
    this.joins = joins;
    this.refused = refused;
    this.after = version;
    /** What is stored, as far as this page knows. */
    this.base = structuredClone(drawn.items);
    if (!url) return;
    addEventListener("pagehide", () => { if (this.#isChanged) this.#post(); });
    const again = () => { if (this.#failures) this.#send(); };
    addEventListener("online", again);
    document.addEventListener("session-back", again);
  }

  /** Whether something could not be stored, and the reader does not know that leaving loses it. */
  get isOpen() { return this.#failures > 0 && !this.#warned; }

  /** Stores what is drawn, unless there is another change within a moment. */
  later() {
    if (!this.url) return;
    this.#isChanged = true;
    this.#warned = false;
    this.#soon(DELAY);
  }

  /** Resolves once everything has been sent, to whether it is stored. */
  async settled() {
    do await this.#send(); while (this.#sending);
    return !this.#failures;
  }

  /** True once the page may be left: everything is stored, or the reader was warned. */
  async mayLeave() {
    if (this.#warned || await this.settled()) return true;
    this.#warned = true;
    return false;
  }

  /** @param {number} wait */
  #soon(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  // One after the other: each names the version of the one before.
  /** @returns {Promise<void>} */
  #send() {
    clearTimeout(this.#timer);
    if (this.#sending) return this.#sending.then(() => this.#isChanged ? this.#send() : undefined);
    if (!this.#isChanged) return Promise.resolve();
    this.#sending = this.#post().finally(() => { this.#sending = null; });
    return this.#sending;
  }

  async #post(mayRenew = true) {
    const { after, base } = this;
    const items = structuredClone(this.drawn.items);
    const version = items.length ? newVersion() : "";
    this.#isChanged = false;
    this.after = version; // also if the page is left before the answer comes
    this.base = items;
    const response = await fetch(this.url, {
      method: "POST", keepalive: true, body: JSON.stringify({ picture: this.picture, annotations: items, after, version }),
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" },
      signal: AbortSignal.timeout(ANSWER),
    }).catch(/** @returns {null} */ () => null);
    if (response?.ok) {
      if (this.#failures) this.refused("");
      this.#failures = 0;
      return;
    }
    this.after = after;
    this.base = base;
    if (response?.status === 400 && mayRenew && await renewToken().catch(() => false)) { await this.#post(false); return; }
    const answer = await response?.json().catch(() => ({})) ?? {};
    if (response?.status === 409 && answer.annotations) {
      this.drawn.items = joined(base, this.drawn.items, answer.annotations);
      this.after = answer.version;
      this.base = answer.annotations;
      this.joins();
      await this.#post();
      return;
    }
    if (response?.status === 422) { this.#failures = 0; this.refused(answer.detail ?? ""); return; }
    this.#isChanged = true;
    this.#failures += 1;
    this.refused(_("Rulers or arrows are not stored yet. They are still here; it is tried again."));
    if (response?.status === 401) document.dispatchEvent(new Event("session-lost"));
    this.#soon(Math.min(LONGEST_WAIT, 500 * 2 ** this.#failures));
  }
}
