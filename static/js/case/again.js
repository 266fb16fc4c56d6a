// A part of the page that could not be loaded is asked for again by itself, less and less often, beside the button for
// it: a portal that was busy for a moment must not leave a case without its picture or its outline.

const FIRST = 10_000; // ms
const LONGEST = 60_000;
const TIMES = 8; // it counts as the person's activity, which must not go on for hours

export class Again {
  #timer = 0;
  #wait = FIRST;
  #left = TIMES;

  /** @param {() => void} load */
  constructor(load) { this.load = load; }

  /** It has failed. */
  later() {
    clearTimeout(this.#timer);
    if (!this.#left) return;
    this.#left -= 1;
    this.#timer = setTimeout(() => this.load(), this.#wait);
    this.#wait = Math.min(LONGEST, this.#wait * 2);
  }

  /** It is being loaded, or is there. */
  stop() { clearTimeout(this.#timer); }
}
