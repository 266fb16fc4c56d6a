// The reader's outline on the film, in the reader's colour: the mask sampled at the film's own resolution, so that
// a picture of any size costs what the window shows of it. While something is drawn, only what changed is drawn.

const FILL = 0.18;
const EDGE = 1.5;   // CSS pixels on both sides of the border: the line, and its dark halo

/** @typedef {import("./mask.js").Rect} Rect */
/** @typedef {{ data: Uint8Array, rows: number, columns: number, box: Rect | null }} Drawn */

export class ReaderLayer {
  #image = new Uint8Array(0);
  #frame = 0;
  /** @type {Rect | null} */
  #changed = null;
  #all = false;

  /** @param {import("../viewer/viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    /** @type {HTMLCanvasElement} */
    this.canvas = viewer.root.querySelector(".film-drawing");
    /** @type {Drawn | null} */
    this.mask = null;
    this.shown = true;
    this.colours = colours(viewer.readerColour);
    viewer.readerLayer = this;
    viewer.addEventListener("layout", () => this.#drawAll());
    this.canvas.addEventListener("contextrestored", () => this.refresh());
  }

  /** @param {Drawn | null} mask */
  show(mask) {
    this.mask = mask;
    this.refresh();
  }

  toggle() { this.shown = !this.shown; this.refresh(); }

  /** Draws all in the next frame, or what lies in a rectangle of the picture.
      @param {Rect | null} rect */
  refresh(rect = null) {
    if (!rect) this.#all = true;
    else if (this.#changed) {
      const [a, b] = [this.#changed, rect];
      this.#changed = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
    } else this.#changed = rect;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const rect = this.#changed;
    if (this.#all || !rect) this.#drawAll();
    else { this.#frame = 0; this.#changed = null; this.#paint(rect); }
  }

  #drawAll() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#changed = null;
    this.#all = false;
    const { width, height } = this.viewer.layer;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    } else this.canvas.getContext("2d").reset();
    if (this.mask?.box) this.#paint(this.mask.box);
  }

  /** @param {Rect} rect */
  #paint(rect) {
    if (!this.mask || !this.shown) return;
    const { lying: geometry, ratio } = this.viewer;
    const corners = [geometry.toScreen(rect[0], rect[1]), geometry.toScreen(rect[2], rect[3])];
    const edge = Math.max(1, Math.round(EDGE * ratio));
    const { width, height } = this.canvas;
    /** @param {"x" | "y"} axis  @param {number} size */
    const ends = (axis, size) => {
      const [low, high] = corners.map((corner) => corner[axis] * ratio).sort((one, other) => one - other);
      return [Math.max(0, Math.floor(low) - edge - 1), Math.min(size, Math.ceil(high) + edge + 1)];
    };
    const [left, right] = ends("x", width);
    const [top, bottom] = ends("y", height);
    if (left >= right || top >= bottom) return;
    const image = new ImageData(right - left, bottom - top);
    this.#sample(left - edge, top - edge, right + edge, bottom + edge);
    this.#colour(new Uint32Array(image.data.buffer), right - left, bottom - top, edge);
    this.canvas.getContext("2d").putImageData(image, left, top);
  }

  // The mask under each pixel of a part of the film. The film shows the picture turned and mirrored, never
  // skewed: a column of the film is a column or a row of the picture.
  /** @param {number} left  @param {number} top  @param {number} right  @param {number} bottom */
  #sample(left, top, right, bottom) {
    const { lying: geometry, ratio } = this.viewer;
    const { data, rows, columns } = this.mask;
    const width = right - left;
    const height = bottom - top;
    if (this.#image.length < width * height) this.#image = new Uint8Array(width * height);
    const image = this.#image;
    const lies = geometry.turn % 2 === 1;
    /** @param {number} i  @param {number} j */
    const at = (i, j) => geometry.toPicture((left + i + 0.5) / ratio, (top + j + 0.5) / ratio);
    const across = new Int32Array(width);
    for (let i = 0; i < width; i += 1) across[i] = lies ? place(at(i, 0).y, rows, columns) : place(at(i, 0).x, columns, 1);
    for (let j = 0; j < height; j += 1) {
      const down = lies ? place(at(0, j).x, columns, 1) : place(at(0, j).y, rows, columns);
      const line = j * width;
      if (down < 0) { image.fill(0, line, line + width); continue; }
      for (let i = 0; i < width; i += 1) image[line + i] = across[i] < 0 ? 0 : data[down + across[i]];
    }
  }

  /** @param {Uint32Array} pixels  @param {number} width  @param {number} height
      @param {number} edge */
  #colour(pixels, width, height, edge) {
    const image = this.#image;
    const stride = width + 2 * edge;
    const { line, halo, fill } = this.colours;
    for (let j = 0; j < height; j += 1) {
      let k = (j + edge) * stride + edge;
      let o = j * width;
      for (let i = 0; i < width; i += 1, k += 1, o += 1) {
        const around = image[k - edge] + image[k + edge] + image[k - edge * stride] + image[k + edge * stride];
        if (image[k]) pixels[o] = around < 4 ? line : fill;
        else if (around) pixels[o] = halo;
      }
    }
  }
}

/** Where a coordinate lies in the mask's bytes, -1 beside the picture.
    @param {number} at  @param {number} length  @param {number} stride */
function place(at, length, stride) {
  const whole = Math.floor(at);
  return whole < 0 || whole >= length ? -1 : whole * stride;
}

/** The colours as bytes of a canvas.
    @param {string} text  a colour as #rrggbb */
function colours(text) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  /** @param {number[]} parts */
  const packed = (...parts) => new Uint32Array(Uint8ClampedArray.from(parts).buffer)[0];
  return {
    line: packed(red, green, blue, 255),
    fill: packed(red, green, blue, Math.round(255 * FILL)),
    halo: packed(0, 0, 0, 140),
  };
}
