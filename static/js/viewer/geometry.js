// Where the picture lies in the window. Picture coordinates are source pixels with (0, 0) at the
// top left corner of the first pixel; screen coordinates are CSS pixels of the film.

const MAX_SCALE = 32;

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {[x: number, y: number]} Corner  in source pixels */
/** @typedef {[x0: number, y0: number, x1: number, y1: number]} Line  in source pixels */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Inset */

export class Geometry {
  /** @param {number} columns  @param {number} rows */
  constructor(columns, rows) {
    this.columns = columns;
    this.rows = rows;
    this.width = 1;      // of the film
    this.height = 1;
    this.inset = { left: 0, top: 0, right: 0, bottom: 0 };
    this.flipped = false;
    this.fitted = true;  // follows the window's size until the reader zooms or pans
    this.scale = 1;      // CSS pixels for one source pixel
    this.x = 0;          // left edge of the (unflipped) picture on the film
    this.y = 0;
  }

  /** @param {number} width  @param {number} height  @param {Inset} inset */
  resize(width, height, inset) {
    const centre = this.toPicture(this.width / 2, this.height / 2);
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.inset = inset;
    if (this.fitted) this.fit();
    else this.#place(centre, this.width / 2, this.height / 2);
  }

  fitScale() {
    const { left, top, right, bottom } = this.inset;
    return Math.min((this.width - left - right) / this.columns, (this.height - top - bottom) / this.rows);
  }

  fit() {
    const { left, top, right, bottom } = this.inset;
    this.scale = this.fitScale();
    this.x = left + (this.width - left - right - this.columns * this.scale) / 2;
    this.y = top + (this.height - top - bottom - this.rows * this.scale) / 2;
    this.fitted = true;
  }

  /** @param {number} sx  @param {number} sy  @returns {Point} */
  toPicture(sx, sy) {
    const x = (sx - this.x) / this.scale;
    return { x: this.flipped ? this.columns - x : x, y: (sy - this.y) / this.scale };
  }

  /** @param {number} px  @param {number} py  @returns {Point} */
  toScreen(px, py) {
    const x = this.flipped ? this.columns - px : px;
    return { x: this.x + x * this.scale, y: this.y + py * this.scale };
  }

  /** @param {Point} point  @param {number} sx  @param {number} sy */
  #place(point, sx, sy) {
    const x = this.flipped ? this.columns - point.x : point.x;
    this.x = sx - x * this.scale;
    this.y = sy - point.y * this.scale;
    this.#keepVisible();
  }

  // At least a quarter of the film still shows the picture, so that it cannot be lost.
  #keepVisible() {
    const w = this.columns * this.scale;
    const h = this.rows * this.scale;
    const mx = Math.min(w, this.width) / 4;
    const my = Math.min(h, this.height) / 4;
    this.x = Math.min(this.width - mx, Math.max(mx - w, this.x));
    this.y = Math.min(this.height - my, Math.max(my - h, this.y));
  }

  /** @param {number} factor  @param {number} sx  @param {number} sy */
  zoomAt(factor, sx, sy) { this.setScale(this.scale * factor, sx, sy); }

  /** @param {number} scale  @param {number} sx  @param {number} sy */
  setScale(scale, sx = this.width / 2, sy = this.height / 2) {
    const point = this.toPicture(sx, sy);
    this.scale = Math.min(MAX_SCALE, Math.max(Math.min(this.fitScale() / 2, 1), scale));
    this.fitted = false;
    this.#place(point, sx, sy);
  }

  /** @param {number} dx  @param {number} dy */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.#keepVisible();
  }

  flip() {
    const middle = this.toPicture(this.width / 2, this.height / 2);
    this.flipped = !this.flipped;
    if (this.fitted) this.fit();
    else this.#place(middle, this.width / 2, this.height / 2);
  }

  reset() {
    this.flipped = false;
    this.fit();
  }
}
