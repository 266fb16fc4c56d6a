// Undo and redo: one stack of patches for all tools.

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {import("./mask.js").Patch} Patch */

const MOST_STEPS = 1000;
const MOST_BYTES = 64 * 2 ** 20;

export class History {
  /** @type {Patch[]} */
  #done = [];
  /** @type {Patch[]} */
  #undone = [];

  /** @param {Mask} mask */
  constructor(mask) { this.mask = mask; }

  get canUndo() { return this.#done.length > 0; }

  get canRedo() { return this.#undone.length > 0; }

  /** Ends one edit; false where it changed nothing. */
  commit() {
    const patch = this.mask.commit();
    if (!patch) return false;
    this.#undone = [];
    this.#done.push(patch);
    let bytes = this.#done.reduce((sum, { runs }) => sum + runs.byteLength, 0);
    while (this.#done.length > MOST_STEPS || (bytes > MOST_BYTES && this.#done.length > 1)) bytes -= this.#done.shift().runs.byteLength;
    return true;
  }

  /** The rectangle that has changed, null where there is nothing to undo. */
  undo() { return this.#move(this.#done, this.#undone); }

  redo() { return this.#move(this.#undone, this.#done); }

  /** @param {Patch[]} from  @param {Patch[]} to */
  #move(from, to) {
    this.mask.revert();
    const patch = from.pop();
    if (!patch) return null;
    to.push(patch);
    return this.mask.apply(patch);
  }
}
