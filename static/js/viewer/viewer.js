// The viewer: puts picture, overlay and rulers on two canvases at the film's own resolution.
// What a reader chose is remembered on the server, what they drew is kept with their draft there; no
// state is in the browser. tools.js turns pointers into calls, actions.js keys and buttons.

import { Geometry } from "./geometry.js";
import { drawArea, drawCorners, drawSides, sidesOf } from "./marks.js";
import { Overlay } from "./overlay.js";
import { buildPyramid, decodePixels } from "./pyramid.js";
import { Rulers } from "./rulers.js";
import { Sampler } from "./sampler.js";
import { Saver } from "./saver.js";
import { Shutter } from "./shutter.js";
import { fetchBytes } from "./transfer.js";
import { restoreTo, stateOf } from "./view_state.js";
import { Windowing, windowOf } from "./windowing.js";

const REST = 140;          // ms after the last move until the full resolution is drawn
const FRAME_BUDGET = 11;   // ms for the picture while something moves

/** @typedef {import("./geometry.js").Line} Line */
/** @typedef {import("./geometry.js").Corner} Corner */

/** What a reader chose last, for the next case too.
    @typedef {{
      overlay: import("./overlay.js").Setting, mode: import("./overlay.js").Mode,
      inverted: boolean, preset: string, brush_mm: number, brush_px: number,
    }} Preferences */

/** The picture and its result as the server describes them (portal.web.present.case_view): numbers and
    addresses only. `signature` changes with the state of the case, which is `final` in the end.
    @typedef {{
      signature: string, final: boolean, stateUrl: string,
      preview: string | null, pixels: string | null, rows: number | null, columns: number | null,
      bits: number, windows: import("./windowing.js").HeaderWindow[],
      spacing: import("./rulers.js").Spacing | null,
      shutters: Corner[][], leftSide: "R" | "L" | "R?" | "" | null,
      map: { url: string, rows: number, columns: number } | null,
      threshold: number | null, islandFloor: number, measuredPixels: number,
      distanceLine: Line | null, levelLines: Line[], otherOutlines: Corner[][], region: Line | null,
      preferences: Preferences, preferencesUrl: string,
      picture: string, rulers: Line[], rulersUrl: string | null, seen: import("./view_state.js").ViewState | null,
      outline: { url: string, newest: string | null, mayEdit: boolean, measuring: boolean },
    }} ViewerInfo */

export class Viewer extends EventTarget {
  #frame = 0;
  #restTimer = 0;
  #pictureStale = true;
  #sampleStale = true;
  #quality = 1;
  #moving = false;

  /** `root`: the .film element.
      @param {import("../base.js").Part} root  @param {ViewerInfo} info */
  constructor(root, info) {
    super();
    this.root = root;
    this.info = info;
    this.stage = root.querySelector(".film-stage");
    /** @type {HTMLImageElement | null} */
    this.preview = root.querySelector(".film-preview");
    /** @type {HTMLCanvasElement} */
    this.canvas = root.querySelector(".film-picture");
    /** @type {HTMLCanvasElement} */
    this.layer = root.querySelector(".film-layer");
    /** @type {HTMLCanvasElement} */
    this.loupe = root.querySelector(".film-loupe");
    this.geometry = new Geometry(info.columns, info.rows);
    this.windowing = new Windowing(info.windows, info.bits);
    this.overlay = new Overlay(info.columns, info.rows);
    this.preferences = { ...info.preferences };
    this.overlay.begin(this.preferences);
    this.windowing.choose(this.preferences.preset);
    if (this.preferences.inverted) this.windowing.invert();
    this.preferenceSaver = new Saver(info.preferencesUrl);
    const draft = new Saver(info.rulersUrl);
    this.rulers = new Rulers(info.spacing, info.rulers.map((line) => [...line]),
      (rulers) => draft.later({ picture: info.picture, rulers }));
    this.shutter = new Shutter(info.shutters);
    /** @type {import("./pyramid.js").Level[] | null} */
    this.levels = null;
    /** @type {Sampler | null} */
    this.sampler = null;
    /** @type {Sampler | null} */
    this.loupeSampler = null;
    /** The slider on the page, once there is one.
        @type {import("../case/threshold.js").Threshold | null} */
    this.threshold = null;
    /** @type {import("../editor/layer.js").ReaderLayer | null} */
    this.readerLayer = null;
    /** @type {MediaQueryList | null} */
    this.screen = null;      // the query that a change of monitor ends
    this.onScreen = () => this.#resize();
    /** @type {Line | null} */
    this.area = null;        // where the reader draws a box for a window
    /** @type {import("./geometry.js").Point[]} */
    this.corners = [];       // of a polygon that is not closed yet
    this.scratch = document.createElement("canvas");
    const style = getComputedStyle(document.documentElement);
    this.aiColour = style.getPropertyValue("--film-ai").trim();
    this.readerColour = style.getPropertyValue("--film-reader").trim();
    this.resizer = new ResizeObserver(() => this.#resize());
    this.resizer.observe(this.stage);
    this.#resize();
  }

  /** @param {string} url  @param {(share: number) => void} onProgress */
  async loadPixels(url, onProgress) {
    const buffer = await fetchBytes(url, onProgress);
    const data = decodePixels(buffer, this.info.columns, this.info.rows);
    this.levels = await buildPyramid(data, this.info.columns, this.info.rows);
    this.sampler = new Sampler(this.levels);
    this.#pictureStale = this.#sampleStale = true;
    this.#drawNow();
    this.root.dataset.depth = "full";
    this.dispatchEvent(new Event("pixels"));
  }

  /** @param {string} url  @param {number} rows  @param {number} columns */
  async loadProbability(url, rows, columns) {
    const bytes = new Uint8Array(await fetchBytes(url));
    if (bytes.length !== rows * columns) throw new Error("the probability map does not fit");
    this.overlay.setMap(bytes, rows, columns);
    this.refreshLayer();
    return bytes;
  }

  /** The density at a source pixel, null outside the picture or before it has loaded.
      @param {import("./geometry.js").Point} point  @returns {number | null} */
  valueAt(point) {
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    const { columns, rows } = this.info;
    if (!this.levels || x < 0 || y < 0 || x >= columns || y >= rows) return null;
    return this.levels[0].data[y * columns + x];
  }

  /** Window and level for the pixels of the area; nothing where it holds too few of them. */
  windowToArea() {
    if (!this.levels) return;
    const fitting = windowOf(this.levels[0], this.area);
    if (!fitting) return;
    this.windowing.set(fitting.centre, fitting.width);
    this.windowChanged();
  }

  /** How the picture is shown now. */
  state() { return stateOf(this); }

  /** Shows the picture as it was in this state.
      @param {Partial<import("./view_state.js").ViewState>} state */
  restore(state) { restoreTo(this, state); }

  /** Remembers a choice of overlay, mode, inversion or preset for the reader's next case.
      @param {Partial<Preferences>} choice */
  remember(choice) {
    Object.assign(this.preferences, choice);
    this.preferenceSaver.later(this.preferences);
  }

  moved() { this.#sampleStale = this.#pictureStale = true; this.#request(true); }

  windowChanged() { this.#pictureStale = true; this.#request(true); }

  refreshLayer() { this.#request(false); }

  /** @param {boolean} moving */
  #request(moving) {
    if (moving) {
      this.#moving = true;
      clearTimeout(this.#restTimer);
      this.#restTimer = setTimeout(() => this.#rest(), REST);
    }
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#drawNow());
    this.dispatchEvent(new Event("change"));
  }

  #rest() {
    this.#moving = false;
    if (this.#quality < 1) { this.#sampleStale = this.#pictureStale = true; this.#request(false); }
  }

  #resize() {
    const width = this.stage.clientWidth;
    const height = this.stage.clientHeight;
    if (!width || !height) return;
    this.ratio = Math.min(window.devicePixelRatio || 1, 3);
    const narrow = matchMedia("(max-width: 760px)").matches; // where the tools lie below: css/case.css
    this.geometry.resize(width, height, { left: narrow ? 0 : 48, right: 0, top: 0, bottom: 0 });
    for (const canvas of [this.canvas, this.layer]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.#sampleStale = this.#pictureStale = true;
    this.#drawNow();
    this.dispatchEvent(new Event("change"));
    this.#watchScreen();
  }

  // Moving to another monitor can change the pixel ratio without a change of size.
  #watchScreen() {
    this.screen?.removeEventListener("change", this.onScreen);
    this.screen = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    this.screen.addEventListener("change", this.onScreen, { once: true });
  }

  #drawNow() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const lies = this.#sampleStale;
    if (this.levels) { if (this.#pictureStale) this.#drawPicture(); } else this.#placePreview();
    this.#drawLayer();
    if (lies) this.dispatchEvent(new Event("layout")); // the picture lies elsewhere on the film
  }

  #placePreview() {
    if (!this.preview) return;
    const { x, y, scale, columns, rows, across, down, turn, flipped } = this.geometry;
    const style = this.preview.style;
    style.left = `${x + (across - columns) / 2 * scale}px`; // it turns about its middle
    style.top = `${y + (down - rows) / 2 * scale}px`;
    style.width = `${columns * scale}px`;
    style.height = `${rows * scale}px`;
    style.transform = `${flipped ? "scaleX(-1) " : ""}rotate(${turn * 90}deg)`;
    style.filter = this.windowing.inverted ? "invert(1)" : "";
    this.preview.classList.add("placed");
  }

  #drawPicture() {
    const begun = performance.now();
    const quality = this.#moving ? this.#quality : 1;
    const ratio = this.ratio * quality;
    const { width, height } = this.canvas;
    const { x, y, scale } = this.geometry;
    if (this.#sampleStale || quality !== this.drawnQuality) {
      this.sampler.sample(x * ratio, y * ratio, scale * ratio, this.geometry,
        Math.round(width * quality), Math.round(height * quality));
      this.drawnQuality = quality;
    }
    const image = this.sampler.grey(this.windowing.lookup());
    const context = this.canvas.getContext("2d", { alpha: false });
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (image) this.#put(context, image, quality);
    this.#toPicture(context);
    this.shutter.draw(context, this.geometry.columns, this.geometry.rows);
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.#sampleStale = this.#pictureStale = false;
    const spent = performance.now() - begun;
    if (this.#moving && spent > FRAME_BUDGET) this.#quality = Math.max(0.35, this.#quality * 0.8);
    else if (this.#moving && spent < FRAME_BUDGET / 3) this.#quality = Math.min(1, this.#quality * 1.1);
  }

  /** @param {CanvasRenderingContext2D} context  @param {ImageData} image
      @param {number} quality */
  #put(context, image, quality) {
    const { rect } = this.sampler;
    if (quality === 1) { context.putImageData(image, rect.x, rect.y); return; }
    this.scratch.width = rect.width;
    this.scratch.height = rect.height;
    this.scratch.getContext("2d", { alpha: false }).putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.scratch, rect.x / quality, rect.y / quality,
      rect.width / quality, rect.height / quality);
  }

  // The transform from source pixels to the film's canvases; returns its scale.
  /** @param {CanvasRenderingContext2D} context */
  #toPicture(context) {
    const { geometry, ratio } = this;
    const scale = geometry.scale * ratio;
    context.setTransform(...geometry.transform(scale, geometry.x * ratio, geometry.y * ratio));
    return scale;
  }

  #drawLayer() {
    const context = this.layer.getContext("2d");
    const { geometry, ratio } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.layer.width, this.layer.height);
    const scale = this.#toPicture(context);
    this.overlay.draw(context, scale, ratio, this.aiColour, true);
    if (this.area) drawArea(context, this.area, ratio / scale, this.readerColour);
    if (this.corners.length) drawCorners(context, this.corners, ratio / scale, this.readerColour);
    context.setTransform(1, 0, 0, 1, 0, 0);
    drawSides(context, sidesOf(geometry, this.info.leftSide), ratio);
    /** @param {number} px  @param {number} py */
    const toScreen = (px, py) => {
      const p = geometry.toScreen(px, py);
      return { x: p.x * ratio, y: p.y * ratio };
    };
    this.rulers.draw(context, toScreen, ratio, this.readerColour);
  }

  /** The magnifier at a film position: the picture at 2.5 times its present size.
      @param {number} sx  @param {number} sy */
  showLoupe(sx, sy) {
    if (!this.levels) return;
    const size = 220;
    const output = Math.round(size * this.ratio);
    this.loupe.hidden = false;
    this.loupe.width = this.loupe.height = output;
    this.loupe.style.left = `${sx - size / 2}px`;
    this.loupe.style.top = `${sy - size / 2}px`;
    this.loupeSampler ??= new Sampler(this.levels);
    const scale = this.geometry.scale * 2.5 * this.ratio;
    const shown = this.geometry.toShown(this.geometry.toPicture(sx, sy));
    const left = output / 2 - shown.x * scale;
    const top = output / 2 - shown.y * scale;
    this.loupeSampler.sample(left, top, scale, this.geometry, output, output);
    const context = this.loupe.getContext("2d", { alpha: false });
    const image = this.loupeSampler.grey(this.windowing.lookup());
    if (image) context.putImageData(image, this.loupeSampler.rect.x, this.loupeSampler.rect.y);
    context.setTransform(...this.geometry.transform(scale, left, top));
    this.shutter.draw(context, this.info.columns, this.info.rows);
    this.overlay.draw(context, scale, this.ratio, this.aiColour, false);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  hideLoupe() { this.loupe.hidden = true; }
}
