// Draws one picture: holds its pixels, and puts the part that the film shows through the window onto a canvas. It runs
// beside the page, in a worker (painter_worker.js), or on the page where the browser has no canvas for workers.

import { Greys, windowOf } from "./greys.js";
import { buildPyramid, decodePixels } from "./pyramid.js";
import { Sampler } from "./sampler.js";
import { Shutter } from "./shutter.js";

const REST = 140;          // ms after the last move until the full resolution is drawn
// Shares of the film's resolution. While something moves, a slow machine draws fewer pixels, which the browser's
// compositor enlarges.
const QUALITIES = [1, 0.7, 0.5, 0.35];

// Not every browser has frames in workers.
/** @param {() => void} act */
const nextFrame = (act) => { if (self.requestAnimationFrame) self.requestAnimationFrame(act); else setTimeout(act, 16); };

/** How the picture lies on an output of width × height pixels: its left top corner, output pixels per source pixel,
    turned and mirrored as in geometry.js; and its window.
    @typedef {{
      left: number, top: number, scale: number, turn: number, flipped: boolean, width: number, height: number,
      window: import("./greys.js").GreyWindow,
    }} View */
/** @typedef {View & {
      matrix: [number, number, number, number, number, number], hides: boolean, moving: boolean,
    }} Order  `matrix`: from source pixels to the output; `hides`: whether the shutter is closed */
/** Pixels of a part of an output.
    @typedef {{ x: number, y: number, width: number, height: number, pixels: Uint8ClampedArray<ArrayBuffer> }} Part */

export class Painter {
  /** @type {import("./pyramid.js").Level[] | null} */
  #levels = null;
  /** @type {Sampler | null} */
  #sampler = null;
  /** @type {Sampler | null} */
  #magnifier = null;
  #greys = new Greys();
  /** @type {Order | null} */
  #order = null;
  #sampled = "";             // how the picture lay when it was sampled
  #waits = false;
  #quality = 0;              // a place in QUALITIES
  #rest = 0;

  /** @param {HTMLCanvasElement | OffscreenCanvas} canvas  @param {number} columns  @param {number} rows
      @param {import("./geometry.js").Corner[][]} shutters
      @param {number} budget  milliseconds for a picture while something moves */
  constructor(canvas, columns, rows, shutters, budget) {
    this.canvas = canvas;
    this.columns = columns;
    this.rows = rows;
    this.budget = budget;
    this.shutter = new Shutter(shutters);
    // The browser has lost what was drawn, as when the graphics card was reset.
    canvas.addEventListener("contextrestored", () => { this.#sampled = ""; this.#soon(); });
  }

  /** Takes the pixels; resolves once they are drawn.
      @param {ArrayBuffer} buffer */
  async load(buffer) {
    const data = decodePixels(buffer, this.columns, this.rows);
    this.#levels = await buildPyramid(data, this.columns, this.rows);
    this.#sampler = new Sampler(this.#levels);
    this.#magnifier = null;
    this.#sampled = "";
    this.#draw(1);
  }

  /** Draws in the next frame; of several orders until then the last one.
      @param {Order} order */
  draw(order) {
    this.#order = order;
    this.#soon();
  }

  /** The density of a source pixel, null outside the picture or before it has loaded.
      @param {number} x  @param {number} y  @returns {number | null} */
  value(x, y) {
    if (!this.#levels || x < 0 || y < 0 || x >= this.columns || y >= this.rows) return null;
    return this.#levels[0].data[y * this.columns + x];
  }

  /** The window that fits the pixels of a box, null where it holds too few of them.
      @param {import("./geometry.js").Line} box */
  windowOf(box) { return this.#levels && windowOf(this.#levels[0], box); }

  /** Another view of the picture, for the magnifier; null where it does not show the picture.
      @param {View} view  @returns {Part | null} */
  magnify(view) {
    if (!this.#levels) return null;
    this.#magnifier ??= new Sampler(this.#levels);
    this.#magnifier.sample(view.left, view.top, view.scale, view, view.width, view.height);
    const image = this.#magnifier.grey(this.#greys.lookup(view.window));
    return image && { ...this.#magnifier.rect, pixels: image.data.slice() };
  }

  #soon() {
    if (this.#waits) return;
    this.#waits = true;
    nextFrame(() => { this.#waits = false; this.#next(); });
  }

  #next() {
    if (!this.#order || !this.#sampler) return;
    const quality = this.#order.moving ? QUALITIES[this.#quality] : 1;
    const begun = performance.now();
    const isNewSize = this.#draw(quality);
    const spent = performance.now() - begun;
    clearTimeout(this.#rest);
    if (quality < 1) this.#rest = setTimeout(() => this.#draw(1), REST);
    if (!this.#order.moving || isNewSize) return; // a change of size costs once
    if (spent > this.budget) this.#quality = Math.min(QUALITIES.length - 1, this.#quality + 1);
    else if (spent < this.budget / 4) this.#quality = Math.max(0, this.#quality - 1);
  }

  /** @param {number} quality  @returns {boolean} whether the canvas has another size than before */
  #draw(quality) {
    if (!this.#order) return false;
    const { canvas } = this;
    const { left, top, scale, turn, flipped, matrix, window, hides } = this.#order;
    const width = Math.round(this.#order.width * quality);
    const height = Math.round(this.#order.height * quality);
    const isNewSize = canvas.width !== width || canvas.height !== height;
    if (isNewSize) { canvas.width = width; canvas.height = height; }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    const lies = [left, top, scale, turn, flipped, width, height].join();
    if (this.#sampled !== lies || isNewSize) {
      this.#sampler.sample(left * quality, top * quality, scale * quality, { turn, flipped }, width, height);
      this.#sampled = lies;
      // Of a canvas that has lain there, the picture covers itself.
      context.fillStyle = "#000";
      context.fillRect(0, 0, width, height);
    }
    const image = this.#sampler.grey(this.#greys.lookup(window));
    if (image) context.putImageData(image, this.#sampler.rect.x, this.#sampler.rect.y);
    if (hides) {
      const [a, b, c, d, e, f] = matrix;
      context.setTransform(a * quality, b * quality, c * quality, d * quality, e * quality, f * quality);
      this.shutter.draw(context, this.columns, this.rows);
      context.setTransform(1, 0, 0, 1, 0, 0);
    }
    return isNewSize;
  }
}
