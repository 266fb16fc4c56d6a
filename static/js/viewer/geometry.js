// Where the picture lies in the window. Picture coordinates are source pixels with (0, 0) at the
// top left corner of the first pixel; shown coordinates are the same pixels once the picture was
// turned and then mirrored; screen coordinates are CSS pixels of the film.

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
    this.turn = 0;       // quarter turns clockwise, 0 to 3
    this.flipped = false; // left and right, after the turn
    this.fitted = true;  // follows the window's size until the reader zooms or pans
    this.scale = 1;      // CSS pixels for one source pixel
    this.x = 0;          // left edge of the shown picture on the film
    this.y = 0;
  }

  /** The picture as it lies now, whatever moves it later.
      @returns {Geometry} */
  copy() { return Object.assign(new Geometry(this.columns, this.rows), this); }

  /** Columns of the shown picture. */
  get across() { return this.turn % 2 ? this.rows : this.columns; }

  /** Rows of the shown picture. */
  get down() { return this.turn % 2 ? this.columns : this.rows; }

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
    return Math.min((this.width - left - right) / this.across, (this.height - top - bottom) / this.down);
  }

  fit() {
    const { left, top, right, bottom } = this.inset;
    this.scale = this.fitScale();
    this.x = left + (this.width - left - right - this.across * this.scale) / 2;
    this.y = top + (this.height - top - bottom - this.down * this.scale) / 2;
    this.fitted = true;
  }

  /** @param {Point} point  @returns {Point} */
  toShown({ x, y }) {
    const turned = [
      { x, y },
      { x: this.rows - y, y: x },
      { x: this.columns - x, y: this.rows - y },
      { x: y, y: this.columns - x },
    ][this.turn];
    return { x: this.flipped ? this.across - turned.x : turned.x, y: turned.y };
  }

  /** @param {Point} point  @returns {Point} */
  fromShown({ x, y }) {
    const u = this.flipped ? this.across - x : x;
    return [
      { x: u, y },
      { x: y, y: this.rows - u },
      { x: this.columns - u, y: this.rows - y },
      { x: this.columns - y, y: u },
    ][this.turn];
  }

  /** @param {number} sx  @param {number} sy  @returns {Point} */
  toPicture(sx, sy) {
    return this.fromShown({ x: (sx - this.x) / this.scale, y: (sy - this.y) / this.scale });
  }

  /** @param {number} px  @param {number} py  @returns {Point} */
  toScreen(px, py) {
    const shown = this.toShown({ x: px, y: py });
    return { x: this.x + shown.x * this.scale, y: this.y + shown.y * this.scale };
  }

  /** The canvas transform from picture coordinates to an output on which the shown picture begins at
      `left`, `top` with `scale` pixels for one of the source.
      @param {number} scale  @param {number} left  @param {number} top
      @returns {[number, number, number, number, number, number]} */
  transform(scale, left, top) {
    const origin = this.toShown({ x: 0, y: 0 });
    const right = this.toShown({ x: 1, y: 0 });
    const below = this.toShown({ x: 0, y: 1 });
    return [
      (right.x - origin.x) * scale, (right.y - origin.y) * scale,
      (below.x - origin.x) * scale, (below.y - origin.y) * scale,
      left + origin.x * scale, top + origin.y * scale,
    ];
  }

  /** @param {Point} point  @param {number} sx  @param {number} sy */
  #place(point, sx, sy) {
    const shown = this.toShown(point);
    this.x = sx - shown.x * this.scale;
    this.y = sy - shown.y * this.scale;
    this.#keepVisible();
  }

  // At least a quarter of the film still shows the picture, so that it cannot be lost.
  #keepVisible() {
    const w = this.across * this.scale;
    const h = this.down * this.scale;
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

  /** Puts a source pixel into the middle of the film.
      @param {number} x  @param {number} y  @param {number} scale */
  show(x, y, scale) {
    this.setScale(scale);
    this.#place({ x, y }, this.width / 2, this.height / 2);
  }

  /** @param {number} dx  @param {number} dy */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.#keepVisible();
  }

  flip() { this.#lay(() => { this.flipped = !this.flipped; }); }

  /** Turns the shown picture, also a mirrored one.
      @param {number} quarters  clockwise */
  rotate(quarters) {
    const by = this.flipped ? -quarters : quarters;
    this.#lay(() => { this.turn = (this.turn + by + 4) % 4; });
  }

  // What was in the middle of the film stays there.
  /** @param {() => void} change */
  #lay(change) {
    const middle = this.toPicture(this.width / 2, this.height / 2);
    change();
    if (this.fitted) this.fit();
    else this.#place(middle, this.width / 2, this.height / 2);
  }

  reset() {
    this.turn = 0;
    this.flipped = false;
    this.fit();
  }
}
