// Draws a part of the picture on the CPU: bilinear sampling of the right pyramid level into a
// 16-bit buffer, then grey through a look-up table. Window/level changes only repeat the second step.

import { levelFor } from "./pyramid.js";

export class Sampler {
  /** @param {import("./pyramid.js").Level[]} levels */
  constructor(levels) {
    this.levels = levels;
    this.values = new Uint16Array(0);
    this.columnsAt = new Int32Array(0);
    this.columnsPart = new Int32Array(0);
    /** @type {ImageData | null} */
    this.image = null;
    this.rect = { x: 0, y: 0, width: 0, height: 0 };
  }

  /** Samples the picture as it lies at `left`, `top` with `scale` output pixels per source pixel
      on an output of width × height. Only the covered rectangle is sampled and kept.
      @param {number} left  @param {number} top  @param {number} scale  @param {boolean} flipped
      @param {number} width  @param {number} height */
  sample(left, top, scale, flipped, width, height) {
    const base = this.levels[0];
    const x0 = Math.max(0, Math.round(left));
    const y0 = Math.max(0, Math.round(top));
    const x1 = Math.min(width, Math.round(left + base.columns * scale));
    const y1 = Math.min(height, Math.round(top + base.rows * scale));
    const w = Math.max(0, x1 - x0);
    const h = Math.max(0, y1 - y0);
    this.rect = { x: x0, y: y0, width: w, height: h };
    if (w === 0 || h === 0) return;
    if (this.values.length < w * h) this.values = new Uint16Array(w * h);
    if (this.columnsAt.length < w) {
      this.columnsAt = new Int32Array(w);
      this.columnsPart = new Int32Array(w);
    }
    const k = levelFor(this.levels, 1 / scale);
    const level = this.levels[k];
    const step = 1 / scale / 2 ** k;
    const lastColumn = level.columns - 1;
    for (let i = 0; i < w; i += 1) {
      let source = (x0 + i + 0.5 - left) * step;
      if (flipped) source = base.columns / 2 ** k - source;
      const at = Math.min(Math.max(source - 0.5, 0), lastColumn);
      const whole = Math.min(Math.floor(at), Math.max(0, lastColumn - 1));
      this.columnsAt[i] = whole;
      this.columnsPart[i] = lastColumn === 0 ? 0 : Math.round((at - whole) * 128);
    }
    this.#rows(level, y0, h, w, top, step);
  }

  /** @param {import("./pyramid.js").Level} level  @param {number} y0  @param {number} h
      @param {number} w  @param {number} top  @param {number} step */
  #rows(level, y0, h, w, top, step) {
    const { data, columns } = level;
    const { values, columnsAt, columnsPart } = this;
    const lastRow = level.rows - 1;
    const right = level.columns > 1 ? 1 : 0;
    for (let j = 0; j < h; j += 1) {
      const at = Math.min(Math.max((y0 + j + 0.5 - top) * step - 0.5, 0), lastRow);
      const whole = Math.min(Math.floor(at), Math.max(0, lastRow - 1));
      const down = lastRow === 0 ? 0 : Math.round((at - whole) * 128);
      const a = whole * columns;
      const b = lastRow === 0 ? a : a + columns;
      let o = j * w;
      for (let i = 0; i < w; i += 1, o += 1) {
        const c = columnsAt[i];
        const part = columnsPart[i];
        const upper = (data[a + c] << 7) + (data[a + c + right] - data[a + c]) * part;
        const lower = (data[b + c] << 7) + (data[b + c + right] - data[b + c]) * part;
        values[o] = (upper * (128 - down) + lower * down + 8192) >> 14; // stays below 2^31
      }
    }
  }

  /** The last sampled rectangle as ImageData through the look-up table (grey per value).
      @param {Uint32Array} table */
  grey(table) {
    const { width, height } = this.rect;
    if (width === 0 || height === 0) return null;
    if (this.image === null || this.image.width !== width || this.image.height !== height) {
      this.image = new ImageData(width, height);
    }
    const pixels = new Uint32Array(this.image.data.buffer);
    const { values } = this;
    for (let i = 0, n = width * height; i < n; i += 1) pixels[i] = table[values[i]];
    return this.image;
  }
}
