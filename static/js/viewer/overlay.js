// The AI overlay on the picture: outline, fill, heat map, distance line. It never changes the result;
// a moved threshold only shows the same probability map at another level.

import { heatTable } from "./colormap.js";
import { padded, rings, toPath } from "./contour.js";
import { withoutIslands } from "./islands.js";

// CSS pixels. Alone the outline is thin, so that the film is seen before it.
const THIN = 1.25;
const THICK = 2;

/** @typedef {import("./geometry.js").Line} Line */
/** @typedef {"on" | "key" | "off"} Setting  key: drawn once its key asks for it */
/** @typedef {"outline" | "fill" | "heat"} Mode  fill: the outline and 25 % fill */

export class Overlay {
  /** @param {number} columns  @param {number} rows */
  constructor(columns, rows) {
    this.columns = columns;
    this.rows = rows;
    /** @type {{ data: Uint8Array, rows: number, columns: number } | null} */
    this.map = null;
    /** @type {Path2D | null} */
    this.path = null;
    /** @type {HTMLCanvasElement | null} */
    this.heat = null;
    /** @type {Line | null} */
    this.distanceLine = null;
    /** @type {Line[]} */
    this.levelLines = [];
    this.showsLevels = false;
    /** @type {Line | null} */
    this.region = null;        // a box: the patches that contribute most to the probability
    this.showsRegion = false;
    /** @type {Path2D | null} */
    this.others = null;        // outlines of the network's other findings
    /** @type {Setting} */
    this.setting = "on";
    this.shown = true;
    /** @type {Mode} */
    this.mode = "outline";
    this.opacity = 1;
  }

  get visible() { return this.shown && this.setting !== "off"; }

  /** What a reader's preferences begin a case with.
      @param {{ overlay: Setting, mode: Mode }} preferences */
  begin({ overlay, mode }) {
    this.setting = overlay;
    this.mode = mode;
    this.shown = overlay === "on";
  }

  /** `map`: bytes of the probability grid.
      @param {Uint8Array} map  @param {number} rows  @param {number} columns */
  setMap(map, rows, columns) {
    this.map = { data: map, rows, columns };
    this.heat = null;
  }

  /** Outlines all that reaches the threshold but islands of fewer than `least` pixels of the map; null
      outlines nothing.
      @param {number | null} threshold  @param {number} least */
  cut(threshold, least = 0) {
    if (!this.map) return;
    const { data, rows, columns } = this.map;
    this.path = threshold === null ? null
      : toPath(rings(padded(withoutIslands(data, rows, columns, threshold * 255, least), rows, columns),
        threshold * 255, this.rows, this.columns));
  }

  /** `outlines`: lists of corners [x, y] in source pixels, each a closed border.
      @param {import("./geometry.js").Corner[][]} outlines */
  setOthers(outlines) {
    this.others = outlines.length ? new Path2D() : null;
    for (const corners of outlines) {
      corners.forEach(([x, y], k) => (k ? this.others.lineTo(x, y) : this.others.moveTo(x, y)));
      this.others.closePath();
    }
  }

  #heatImage() {
    if (this.heat) return this.heat;
    const { data, rows, columns } = this.map;
    const table = heatTable();
    const image = new ImageData(columns, rows);
    for (let i = 0; i < data.length; i += 1) {
      const at = 4 * data[i];
      for (let c = 0; c < 4; c += 1) image.data[4 * i + c] = table[at + c];
    }
    this.heat = document.createElement("canvas");
    this.heat.width = columns;
    this.heat.height = rows;
    this.heat.getContext("2d").putImageData(image, 0, 0);
    return this.heat;
  }

  /** Draws in source pixels; `scale` is output pixels per source pixel, `ratio` per CSS pixel.
      @param {CanvasRenderingContext2D} context  @param {number} scale  @param {number} ratio
      @param {string} colourText  @param {boolean} showLine */
  draw(context, scale, ratio, colourText, showLine) {
    if (!this.visible || !this.map) return;
    context.save();
    context.globalAlpha = this.opacity;
    if (this.mode === "heat") {
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.#heatImage(), 0, 0, this.columns, this.rows);
    }
    if (this.path) {
      if (this.mode === "fill") {
        context.globalAlpha = 0.25 * this.opacity;
        context.fillStyle = colourText;
        context.fill(this.path, "evenodd");
        context.globalAlpha = this.opacity;
      }
      context.lineJoin = "round";
      const width = this.mode === "outline" ? THIN : THICK;
      this.#stroke(context, this.path, width * ratio / scale, colourText, ratio / scale);
    }
    if (this.others) {
      context.setLineDash([8 * ratio / scale, 6 * ratio / scale]);
      this.#stroke(context, this.others, 1.5 * ratio / scale, colourText, ratio / scale);
      context.setLineDash([]);
    }
    if (this.showsRegion && this.region) this.#brackets(context, ratio / scale, colourText);
    if (showLine && this.showsLevels) for (const line of this.levelLines) this.#distance(context, line, ratio / scale, colourText);
    if (showLine && this.distanceLine) this.#distance(context, this.distanceLine, ratio / scale, "#fff");
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context  @param {Path2D} path  @param {number} width
      @param {string} colourText  @param {number} pixel */
  #stroke(context, path, width, colourText, pixel) {
    context.lineWidth = width + 3 * pixel;
    context.strokeStyle = "rgb(0 0 0 / 55%)";
    context.stroke(path);
    context.lineWidth = width;
    context.strokeStyle = colourText;
    context.stroke(path);
  }

  // Corners only: a whole box would look like an outline.
  /** @param {CanvasRenderingContext2D} context  @param {number} pixel
      @param {string} colourText */
  #brackets(context, pixel, colourText) {
    const [x0, y0, x1, y1] = this.region;
    const arm = Math.min(x1 - x0, y1 - y0) / 4;
    const path = new Path2D();
    for (const [x, y, dx, dy] of [[x0, y0, arm, arm], [x1, y0, -arm, arm], [x0, y1, arm, -arm], [x1, y1, -arm, -arm]]) {
      path.moveTo(x + dx, y); path.lineTo(x, y); path.lineTo(x, y + dy);
    }
    this.#stroke(context, path, 1.5 * pixel, colourText, pixel);
  }

  /** @param {CanvasRenderingContext2D} context  @param {Line} line  @param {number} pixel
      @param {string} colourText */
  #distance(context, line, pixel, colourText) {
    const [x0, y0, x1, y1] = line;
    const length = Math.hypot(x1 - x0, y1 - y0) || 1;
    const nx = -(y1 - y0) / length * 5 * pixel;
    const ny = (x1 - x0) / length * 5 * pixel;
    const path = new Path2D();
    path.moveTo(x0, y0); path.lineTo(x1, y1);
    path.moveTo(x0 - nx, y0 - ny); path.lineTo(x0 + nx, y0 + ny);
    path.moveTo(x1 - nx, y1 - ny); path.lineTo(x1 + nx, y1 + ny);
    context.lineCap = "butt";
    this.#stroke(context, path, 1.5 * pixel, colourText, pixel);
  }
}
