// Stores what is drawn on the server, a moment after the last change, and is content only when the server has read
// back what was sent. What can't be stored now stays in the page and is sent again, until it is.

import { csrfToken, renewToken } from "../base.js";
import { sha256, toBase64 } from "./runs.js";
import { _ } from "../language.js";

const REST = 700;           // ms after the last change
const LONGEST_WAIT = 10_000;
const ANSWER = 15_000;      // ms: a request without an answer is one that has failed
const KEEPALIVE_BYTES = 60_000; // browsers send no more of a page that is left

/** saved: nothing is open. saving. waiting: it is tried again. lost: another one edits. refused: only another
    outline may be accepted.
    @typedef {"saved" | "saving" | "waiting" | "lost" | "refused"} State */
/** @typedef {{ lock: string, number: number, beat_seconds: number }} Lock */
/** @typedef {{ status: number, body: any }} Answer  status 0: none came */

/** One request of the editor; the token is renewed once where it is no longer the session's.
    @param {string} url  @param {object} body  @returns {Promise<Answer>} */
export async function post(url, body, mayRenew = true) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" };
  try {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(ANSWER) });
    if (response.status === 401) document.dispatchEvent(new Event("session-lost"));
    const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
    if (answer.code === "csrf" && mayRenew && await renewToken()) return post(url, body, false);
    return { status: response.status, body: answer };
  } catch {
    return { status: 0, body: {} };
  }
}

export class Draft {
  #timer = 0;
  #beat = 0;
  #changes = 0;       // counted, so that a change during a request is sent after it
  #stored = 0;
  #failures = 0;
  /** @type {Promise<void> | null} */
  #sending = null;
  #ended = false;

  /** @param {string} url  @param {{ picture: string, rows: number, columns: number }} about
      @param {Lock} lock  @param {() => import("./runs.js").Bytes} encode
      @param {(state: State, text: string) => void} onState */
  constructor(url, about, lock, encode, onState) {
    this.url = url;
    this.about = about;
    this.lock = lock.lock;
    this.number = lock.number;
    this.encode = encode;
    this.onState = onState;
    /** @type {State} */
    this.state = "saved";
    this.message = "";
    this.again = () => { if (this.state === "waiting") this.#soon(0); };
    for (const name of ["online", "visibilitychange"]) addEventListener(name, this.again);
    document.addEventListener("session-back", this.again);
    this.leaving = () => this.#leave();
    addEventListener("pagehide", this.leaving);
    this.#beat = setInterval(() => this.#sign(), lock.beat_seconds * 1000);
  }

  /** Whether something is not on the server yet. */
  get isOpen() { return this.#changes !== this.#stored; }

  changed() {
    this.#changes += 1;
    if (this.state === "lost") return;
    this.#set("saving");
    this.#soon(REST);
  }

  /** Sends what is open now; resolves to whether nothing is left. */
  async flush() {
    clearTimeout(this.#timer);
    while (this.isOpen && this.state !== "lost") {
      const before = this.#stored;
      await this.#send();
      if (this.#stored === before) break;
    }
    return !this.isOpen;
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    for (const name of ["online", "visibilitychange"]) removeEventListener(name, this.again);
    document.removeEventListener("session-back", this.again);
    removeEventListener("pagehide", this.leaving);
  }

  /** Gives the lock back; the draft stays on the server. */
  async leave() {
    this.end();
    await post(`${this.url}/leave`, { picture: this.about.picture, lock: this.lock });
  }

  /** @param {State} state */
  #set(state, message = "") {
    this.state = state;
    this.message = message;
    if (!this.#ended) this.onState(state, message);
  }

  /** @param {number} wait */
  #soon(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  // One request at a time: the next one holds everything that was drawn meanwhile.
  #send() {
    this.#sending ??= this.#sendOnce().finally(() => {
      this.#sending = null;
      if (this.isOpen && this.state === "saving") this.#soon(REST);
    });
    return this.#sending;
  }

  async #sendOnce() {
    if (this.#ended || !this.isOpen || this.state === "lost") return;
    const changes = this.#changes;
    const runs = this.encode();
    this.number += 1;
    const { picture, rows, columns } = this.about;
    const sent = { picture, rows, columns, lock: this.lock, number: this.number, runs: toBase64(runs) };
    const { status, body } = await post(`${this.url}/draft`, sent);
    if (this.#ended) return;
    if (status === 200) {
      const digest = await sha256(runs);
      if (digest === null || digest === body.sha256) {
        this.#failures = 0;
        this.#stored = changes;
        this.#set(this.isOpen ? "saving" : "saved");
        return;
      }
    }
    this.#failed(status, body);
  }

  /** @param {number} status  @param {any} body */
  #failed(status, body) {
    if (status === 409 && body.code === "taken_over") { this.#set("lost", body.detail); return; }
    if ([403, 404, 413, 422].includes(status)) {
      this.#set("refused", body.detail || _("The portal does not accept this outline. It is still here."));
      return;
    }
    this.#failures += 1;
    this.#set("waiting", status === 401
      ? _("You are signed out. What you drew is still here and is stored once you sign in again.")
      : _("Not stored: the portal cannot be reached. What you drew is still here; it is tried again."));
    this.#soon(Math.min(LONGEST_WAIT, 500 * 2 ** this.#failures));
  }

  async #sign() {
    if (this.state === "lost") return;
    const { status, body } = await post(`${this.url}/beat`, { picture: this.about.picture, lock: this.lock });
    if (status === 409 && !this.#ended) this.#set("lost", body.detail);
  }

  // The page is left: what is open is sent if the browser takes it along; else the lock is given back.
  #leave() {
    const { picture, rows, columns } = this.about;
    let [name, body] = ["leave", JSON.stringify({ picture, lock: this.lock })];
    if (this.isOpen) {
      if (this.state === "lost") return;
      name = "draft";
      body = JSON.stringify({ picture, rows, columns, lock: this.lock, number: this.number + 1, runs: toBase64(this.encode()) });
    }
    if (body.length > KEEPALIVE_BYTES) return;
    const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" };
    fetch(`${this.url}/${name}`, { method: "POST", headers, body, keepalive: true }).catch(() => {});
  }
}
