// Draws a part of the picture on the CPU: bilinear sampling of the right pyramid level into a
// 16-bit buffer, then grey through a look-up table. Window/level changes only repeat the second step.

import { levelFor } from "./pyramid.js";

/** Where an axis of the output finds its pixels: places in the level's data, and the share (of 128) of
    the pixel after each, which lies `stride` further.
    @typedef {{ at: Int32Array, part: Int32Array, stride: number }} Axis */

/** @returns {Axis} */
const emptyAxis = () => ({ at: new Int32Array(0), part: new Int32Array(0), stride: 0 });

export class Sampler {
  /** @param {import("./pyramid.js").Level[]} levels */
  constructor(levels) {
    this.levels = levels;
    this.values = new Uint16Array(0);
    this.across = emptyAxis();
    this.down = emptyAxis();
    /** @type {ImageData | null} */
    this.image = null;
    this.rect = { x: 0, y: 0, width: 0, height: 0 };
  }

  /** Samples the picture as it lies at `left`, `top`, turned and mirrored as in `geometry.js`, with
      `scale` output pixels per source pixel on an output of width × height. Only the covered rectangle
      is sampled and kept.
      @param {number} left  @param {number} top  @param {number} scale
      @param {{ turn: number, flipped: boolean }} lying  @param {number} width  @param {number} height */
  sample(left, top, scale, { turn, flipped }, width, height) {
    const base = this.levels[0];
    const lies = turn % 2 === 1;
    const x0 = Math.max(0, Math.round(left));
    const y0 = Math.max(0, Math.round(top));
    const x1 = Math.min(width, Math.round(left + (lies ? base.rows : base.columns) * scale));
    const y1 = Math.min(height, Math.round(top + (lies ? base.columns : base.rows) * scale));
    const w = Math.max(0, x1 - x0);
    const h = Math.max(0, y1 - y0);
    this.rect = { x: x0, y: y0, width: w, height: h };
    if (w === 0 || h === 0) return;
    if (this.values.length < w * h) this.values = new Uint16Array(w * h);
    const k = levelFor(this.levels, 1 / scale);
    const level = this.levels[k];
    const step = 1 / scale / 2 ** k;
    // Turned by 1 or 3 quarters, an output row runs along a column of the source; by 1 or 2 it runs
    // backwards, and by 2 or 3 the output's columns do. Mirrored, the rows run the other way.
    const backwards = (turn === 1 || turn === 2) !== flipped;
    const upwards = turn === 2 || turn === 3;
    const rows = { count: level.rows, length: base.rows / 2 ** k, stride: level.columns };
    const columns = { count: level.columns, length: base.columns / 2 ** k, stride: 1 };
    place(this.across, w, (x0 + 0.5 - left) * step, step, lies ? rows : columns, backwards);
    place(this.down, h, (y0 + 0.5 - top) * step, step, lies ? columns : rows, upwards);
    this.#blend(level.data, w, h);
  }

  /** @param {Uint16Array} data  @param {number} w  @param {number} h */
  #blend(data, w, h) {
    const { values, across, down } = this;
    const { at: columnAt, part: columnPart, stride: right } = across;
    for (let j = 0; j < h; j += 1) {
      const share = down.part[j];
      const a = down.at[j];
      const b = a + down.stride;
      let o = j * w;
      for (let i = 0; i < w; i += 1, o += 1) {
        const c = columnAt[i];
        const part = columnPart[i];
        const upper = (data[a + c] << 7) + (data[a + c + right] - data[a + c]) * part;
        const lower = (data[b + c] << 7) + (data[b + c + right] - data[b + c]) * part;
        values[o] = (upper * (128 - share) + lower * share + 8192) >> 14; // stays below 2^31
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

/** Fills an axis: output pixel i lies at `from + i * step` of `length`, from the other end if reversed.
    @param {Axis} axis  @param {number} size  @param {number} from  @param {number} step
    @param {{ count: number, length: number, stride: number }} source  @param {boolean} reversed */
function place(axis, size, from, step, { count, length, stride }, reversed) {
  if (axis.at.length < size) {
    axis.at = new Int32Array(size);
    axis.part = new Int32Array(size);
  }
  axis.stride = count > 1 ? stride : 0;
  const last = count - 1;
  for (let i = 0; i < size; i += 1) {
    const along = from + i * step;
    const at = Math.min(Math.max((reversed ? length - along : along) - 0.5, 0), last);
    const whole = Math.min(Math.floor(at), Math.max(0, last - 1));
    axis.at[i] = whole * stride;
    axis.part[i] = last === 0 ? 0 : Math.round((at - whole) * 128);
  }
}
