// A mask while it is edited: a byte for each pixel of the picture, changed in place. What was changed since the
// last `commit` lies in a rectangle, and becomes a patch: the runs of pixels that were turned over in it. A
// patch undoes itself when it is applied again, so one stack of them is all that undo and redo need.

import { boxOf } from "./runs.js";
import { polygon, stroke } from "./shapes.js";

/** @typedef {import("../viewer/geometry.js").Point} Point */
/** Left, top, right and bottom in pixels; the last two are outside.
    @typedef {[x0: number, y0: number, x1: number, y1: number]} Rect */
/** @typedef {{ rect: Rect, runs: Uint32Array }} Patch  lengths of same and turned, in turn, row after row */

export class Mask {
  /** @param {Uint8Array} data  0 and 1  @param {number} rows  @param {number} columns */
  constructor(data, rows, columns) {
    this.data = data;
    this.rows = rows;
    this.columns = columns;
    this.committed = data.slice();
    /** @type {Rect | null} */
    this.dirty = null;
    this.box = boxOf(data, rows, columns);   // all that is inside lies in it
  }

  /** @param {Rect} rect */
  #touch(rect) {
    this.dirty = union(this.dirty, rect);
    this.box = union(this.box, rect);
  }

  /** @param {number} value */
  #span(value) {
    return (/** @type {number} */ row, /** @type {number} */ first, /** @type {number} */ end) => {
      this.data.fill(value, row * this.columns + first, row * this.columns + end);
      this.#touch([first, row, end, row + 1]);
    };
  }

  /** @param {Point} a  @param {Point} b  @param {number} rx  @param {number} ry
      @param {number} value  1 draws, 0 erases */
  stroke(a, b, rx, ry, value) { stroke(a, b, rx, ry, this.rows, this.columns, this.#span(value)); }

  /** @param {Point[]} corners */
  polygon(corners) { polygon(corners, this.rows, this.columns, this.#span(1)); }

  /** Fills the gap around a pixel: the pixels outside that are joined to it by their sides. False where it is
      inside, or not enclosed.
      @param {Point} point */
  fill(point) { return this.#flood(point, 0, false); }

  /** Removes the region around a pixel: those inside that are joined to it, by corners too. False where there is
      none.
      @param {Point} point */
  removeRegion(point) { return this.#flood(point, 1, true); }

  /** @param {Uint8Array} data  a whole other mask */
  replace(data) {
    this.data.set(data);
    this.#touch([0, 0, this.columns, this.rows]);
    this.box = boxOf(this.data, this.rows, this.columns);
  }

  /** @param {Point} point  @param {number} from  the value that is turned over
      @param {boolean} byCorners */
  #flood(point, from, byCorners) {
    const { data, rows, columns } = this;
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    if (x < 0 || y < 0 || x >= columns || y >= rows || data[y * columns + x] !== from) return false;
    const reach = byCorners ? 1 : 0;
    /** @type {[row: number, first: number, end: number][]} */
    const found = [];
    const seeds = [y * columns + x];
    let isEnclosed = true;
    while (seeds.length && (isEnclosed || from === 1)) {
      const seed = seeds.pop();
      if (data[seed] !== from) continue;
      const row = Math.floor(seed / columns);
      const start = row * columns;
      let first = seed;
      while (first > start && data[first - 1] === from) first -= 1;
      let end = seed + 1;
      while (end < start + columns && data[end] === from) end += 1;
      data.fill(2, first, end);
      found.push([row, first - start, end - start]);
      if (row === 0 || row === rows - 1 || first === start || end === start + columns) isEnclosed = false;
      for (const other of [row - 1, row + 1]) {
        if (other < 0 || other >= rows) continue;
        const low = Math.max(other * columns, first - start - reach + other * columns);
        const high = Math.min((other + 1) * columns, end - start + reach + other * columns);
        for (let k = low; k < high; k += 1) {
          if (data[k] === from && (k === low || data[k - 1] !== from)) seeds.push(k);
        }
      }
    }
    const isDone = isEnclosed || from === 1;
    const span = this.#span(isDone ? 1 - from : from);
    for (const one of found) span(...one);
    return isDone;
  }

  /** What was changed since the last time, as a patch; null where nothing differs.
      @returns {Patch | null} */
  commit() {
    if (!this.dirty) return null;
    const rect = this.dirty;
    this.dirty = null;
    const runs = [];
    const [x0, y0, x1, y1] = rect;
    let turned = 0;
    let length = 0;
    let differs = false;
    for (let row = y0; row < y1; row += 1) {
      const end = row * this.columns + x1;
      for (let k = row * this.columns + x0; k < end; k += 1) {
        const isTurned = this.data[k] === this.committed[k] ? 0 : 1;
        if (isTurned !== turned) { runs.push(length); length = 0; turned = isTurned; differs = true; }
        length += 1;
      }
      this.committed.set(this.data.subarray(row * this.columns + x0, end), row * this.columns + x0);
    }
    runs.push(length);
    return differs ? { rect, runs: Uint32Array.from(runs) } : null;
  }

  /** Turns the pixels of a patch over; twice is none.
      @param {Patch} patch */
  apply({ rect, runs }) {
    const [x0, y0, x1] = rect;
    const width = x1 - x0;
    let at = 0;
    runs.forEach((length, k) => {
      if (k % 2) {
        for (let i = at; i < at + length; i += 1) {
          const pixel = (y0 + Math.floor(i / width)) * this.columns + x0 + i % width;
          this.data[pixel] ^= 1;
          this.committed[pixel] ^= 1;
        }
      }
      at += length;
    });
    this.box = boxOf(this.data, this.rows, this.columns);
    return rect;
  }

  /** Forgets what was changed since the last commit.
      @returns {Rect | null} */
  revert() {
    const rect = this.dirty;
    this.dirty = null;
    if (!rect) return null;
    for (let row = rect[1]; row < rect[3]; row += 1) {
      const at = row * this.columns + rect[0];
      this.data.set(this.committed.subarray(at, row * this.columns + rect[2]), at);
    }
    return rect;
  }
}

/** @param {Rect | null} one  @param {Rect | null} other  @returns {Rect | null} */
export function union(one, other) {
  if (!one || !other) return one ?? other;
  return [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[2], other[2]), Math.max(one[3], other[3])];
}
