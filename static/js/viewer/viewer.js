// The viewer: puts picture, overlay and what is drawn on two canvases at the film's own resolution.
// What a reader chose is remembered on the server, what they drew is kept with their draft there; no
// state is in the browser. tools.js turns pointers into calls, actions.js keys and buttons.

import { Annotations } from "./annotations.js";
import { ArrowText } from "./arrow_text.js";
import { Geometry } from "./geometry.js";
import { Loupe } from "./loupe.js";
import { drawArea, drawCorners, drawSides, sidesOf } from "./marks.js";
import { Overlay } from "./overlay.js";
import { buildPyramid, decodePixels } from "./pyramid.js";
import { Sampler } from "./sampler.js";
import { Saver } from "./saver.js";
import { Shutter } from "./shutter.js";
import { fetchBytes } from "./transfer.js";
import { restoreTo, stateOf } from "./view_state.js";
import { Windowing, windowOf } from "./windowing.js";

const REST = 140;          // ms after the last move until the full resolution is drawn
const FRAME_BUDGET = 4;    // ms for the picture while something moves: the page has 8 for all
// Shares of the film's resolution. While something moves, a slow machine draws fewer pixels, which the browser's
// compositor enlarges, beside the main thread.
const QUALITIES = [1, 0.7, 0.5, 0.35];

/** @typedef {import("./geometry.js").Line} Line */
/** @typedef {import("./geometry.js").Corner} Corner */

/** What a reader chose last, for the next case too.
    @typedef {{
      overlay: import("./overlay.js").Setting, mode: import("./overlay.js").Mode,
      inverted: boolean, preset: string, brush_mm: number, brush_px: number,
      beside: boolean, link_place: boolean, link_window: boolean,
    }} Preferences */

/** The picture and its result as the server describes them (portal.web.present.case_view): numbers and
    addresses only. `signature` changes with the state of the case, which is `final` in the end.
    @typedef {{
      signature: string, final: boolean, stateUrl: string,
      preview: string | null, pixels: string | null, rows: number | null, columns: number | null,
      bits: number, windows: import("./windowing.js").HeaderWindow[],
      spacing: import("./annotations.js").Spacing | null,
      shutters: Corner[][], leftSide: "R" | "L" | "R?" | "" | null,
      map: { url: string, rows: number, columns: number } | null,
      threshold: number | null, islandFloor: number, measuredPixels: number,
      distanceLine: Line | null, levelLines: Line[], otherOutlines: Corner[][], region: Line | null,
      preferences: Preferences, preferencesUrl: string,
      picture: string, annotations: import("./annotations.js").Annotation[], annotationsUrl: string | null,
      reviewed: Record<string, import("./annotations.js").Annotation[]>,
      besideUrl: string | null, mayHaveBeside: boolean,
      seen: import("./view_state.js").ViewState | null,
      outline: { url: string, newest: string | null, mayEdit: boolean, measuring: boolean },
    }} ViewerInfo */

export class Viewer extends EventTarget {
  #frame = 0;
  #restTimer = 0;
  #pictureStale = true;
  #sampleStale = true;
  #layerStale = true;
  #quality = 0;              // a place in QUALITIES
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
    this.loupe = new Loupe(this, root.querySelector(".film-loupe"));
    this.geometry = new Geometry(info.columns, info.rows);
    this.windowing = new Windowing(info.windows, info.bits);
    this.overlay = new Overlay(info.columns, info.rows);
    this.preferences = { ...info.preferences };
    this.overlay.begin(this.preferences);
    this.windowing.choose(this.preferences.preset);
    if (this.preferences.inverted) this.windowing.invert();
    this.preferenceSaver = new Saver(info.preferencesUrl);
    /** Stores what is drawn; a finding waits for it (`settled`). */
    this.draft = new Saver(info.annotationsUrl);
    this.annotations = new Annotations(info.spacing, structuredClone(info.annotations), (items) => {
      this.draft.later({ picture: info.picture, annotations: items });
      this.dispatchEvent(new Event("annotated"));
    });
    this.arrowText = new ArrowText(this);
    this.shutter = new Shutter(info.shutters);
    /** @type {import("./pyramid.js").Level[] | null} */
    this.levels = null;
    /** @type {Sampler | null} */
    this.sampler = null;
    /** The slider on the page, once there is one.
        @type {import("../case/threshold.js").Threshold | null} */
    this.threshold = null;
    /** @type {import("../editor/layer.js").ReaderLayer | null} */
    this.readerLayer = null;
    /** The picture beside, once the page has one.
        @type {import("../case/beside.js").Beside | null} */
    this.beside = null;
    /** @type {MediaQueryList | null} */
    this.screen = null;      // the query that a change of monitor ends
    this.onScreen = () => this.#resize();
    /** @type {Line | null} */
    this.area = null;        // where the reader draws a box for a window
    /** @type {import("./geometry.js").Point[]} */
    this.corners = [];       // of a polygon that is not closed yet
    this.closed = false;
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
    if (this.closed) return;
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

  moved() {
    this.#sampleStale = this.#pictureStale = this.#layerStale = true;
    this.#request(true);
    this.dispatchEvent(new Event("moved"));
  }

  windowChanged() {
    this.#pictureStale = true;
    this.#request(true);
    this.dispatchEvent(new Event("windowed"));
  }

  refreshLayer() {
    this.#layerStale = true;
    this.#request(false);
  }

  /** Ends the viewer: nothing is drawn any more. */
  close() {
    this.closed = true;
    this.resizer.disconnect();
    this.screen?.removeEventListener("change", this.onScreen);
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#restTimer);
  }

  /** @param {boolean} moving */
  #request(moving) {
    if (this.closed) return;
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
    if (this.#quality) { this.#sampleStale = this.#pictureStale = true; this.#request(false); }
  }

  #resize() {
    const width = this.stage.clientWidth;
    const height = this.stage.clientHeight;
    if (!width || !height) return;
    this.ratio = Math.min(window.devicePixelRatio || 1, 3);
    const narrow = matchMedia("(max-width: 760px)").matches; // where the tools lie below: css/case.css
    const tools = this.root.querySelector(".film-tools");
    this.geometry.resize(width, height, { left: narrow || !tools ? 0 : 48, right: 0, top: 0, bottom: 0 });
    this.layer.width = Math.round(width * this.ratio);
    this.layer.height = Math.round(height * this.ratio);
    this.#sampleStale = this.#pictureStale = this.#layerStale = true;
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
    if (this.#layerStale) this.#drawLayer();
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
    const quality = this.#moving ? QUALITIES[this.#quality] : 1;
    const ratio = this.ratio * quality;
    const { canvas, geometry } = this;
    const width = Math.round(this.layer.width * quality);
    const height = Math.round(this.layer.height * quality);
    const resized = canvas.width !== width || canvas.height !== height;
    if (resized) { canvas.width = width; canvas.height = height; }
    if (this.#sampleStale || resized) {
      this.sampler.sample(geometry.x * ratio, geometry.y * ratio, geometry.scale * ratio, geometry, width, height);
    }
    const image = this.sampler.grey(this.windowing.lookup());
    const context = canvas.getContext("2d", { alpha: false });
    // Of a canvas that has lain there, the picture covers itself.
    if (this.#sampleStale || resized) { context.fillStyle = "#000"; context.fillRect(0, 0, width, height); }
    if (image) context.putImageData(image, this.sampler.rect.x, this.sampler.rect.y);
    this.#toPicture(context, ratio);
    this.shutter.draw(context, geometry.columns, geometry.rows);
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.#sampleStale = this.#pictureStale = false;
    const spent = performance.now() - begun;
    if (!this.#moving || resized) return; // a change of size costs once
    if (spent > FRAME_BUDGET) this.#quality = Math.min(QUALITIES.length - 1, this.#quality + 1);
    else if (spent < FRAME_BUDGET / 4) this.#quality = Math.max(0, this.#quality - 1);
  }

  // The transform from source pixels to the film's canvases; returns its scale.
  /** @param {CanvasRenderingContext2D} context  @param {number} ratio */
  #toPicture(context, ratio) {
    const { geometry } = this;
    const scale = geometry.scale * ratio;
    context.setTransform(...geometry.transform(scale, geometry.x * ratio, geometry.y * ratio));
    return scale;
  }

  #drawLayer() {
    this.#layerStale = false;
    const context = this.layer.getContext("2d");
    const { geometry, ratio } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.layer.width, this.layer.height);
    const scale = this.#toPicture(context, ratio);
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
    this.annotations.draw(context, toScreen, ratio, this.readerColour);
  }

  /** The magnifier at a film position: the picture at 2.5 times its present size.
      @param {number} sx  @param {number} sy */
  showLoupe(sx, sy) { if (this.levels) this.loupe.show(sx, sy); }

  hideLoupe() { this.loupe.hide(); }
}
