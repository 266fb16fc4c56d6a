// The viewer: where the picture lies on its film and how it looks; picture.js draws it, at the film's own resolution,
// and the overlay and what is drawn lie on a canvas above.
// What a reader chose is remembered on the server, what they drew is kept with their draft there; no
// state is in the browser. tools.js turns pointers into calls, actions.js keys and buttons.

import { Annotations } from "./annotations.js";
import { ArrowText } from "./arrow_text.js";
import { Geometry } from "./geometry.js";
import { Loupe } from "./loupe.js";
import { drawArea, drawCorners, drawSides, sidesOf } from "./marks.js";
import { Overlay } from "./overlay.js";
import { Picture } from "./picture.js";
import { DrawnSaver } from "./drawn_saver.js";
import { Saver } from "./saver.js";
import { Shown } from "./shown.js";
import { Shutter } from "./shutter.js";
import { fetchBytes } from "./transfer.js";
import { restoreTo, stateOf } from "./view_state.js";
import { Windowing } from "./windowing.js";

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
      annotationsVersion: string, shownUrl: string | null,
      reviewed: Record<string, import("./annotations.js").Annotation[]>,
      besideUrl: string | null, mayHaveBeside: boolean,
      seen: import("./view_state.js").ViewState | null,
      outline: { url: string, newest: string | null, mayEdit: boolean, measuring: boolean },
    }} ViewerInfo */

export class Viewer extends EventTarget {
  #frame = 0;
  #pictureStale = true;
  #placeStale = true;
  #layerStale = true;
  #moving = false;
  /** @type {Geometry | null} */
  #followed = null;          // how the picture will lie in the next frame

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
    this.layer = root.querySelector(".film-layer");
    this.loupe = new Loupe(this, root.querySelector(".film-loupe"));
    this.geometry = new Geometry(info.columns, info.rows);
    this.lying = this.geometry; // as the film shows it: a frame behind, while it moves
    this.windowing = new Windowing(info.windows, info.bits);
    this.overlay = new Overlay(info.columns, info.rows);
    this.preferences = { ...info.preferences };
    this.overlay.begin(this.preferences);
    this.windowing.choose(this.preferences.preset);
    if (this.preferences.inverted) this.windowing.invert();
    this.preferenceSaver = new Saver(info.preferencesUrl);
    this.annotations = new Annotations(info.spacing, structuredClone(info.annotations), () => {
      this.draft.later();
      this.dispatchEvent(new Event("annotated"));
    });
    /** Stores what is drawn; a finding waits for it (`settled`). */
    this.draft = new DrawnSaver(info.annotationsUrl, { picture: info.picture, version: info.annotationsVersion }, this.annotations, () => {
      this.refreshLayer();
      this.dispatchEvent(new Event("drawn-elsewhere"));
    }, (text) => this.dispatchEvent(new CustomEvent("drawn-refused", { detail: text })));
    this.arrowText = new ArrowText(this);
    this.shutter = new Shutter(info.shutters);
    // A canvas belongs to one painter for good; the pane beside shows several pictures.
    const canvas = /** @type {HTMLCanvasElement} */ (root.querySelector(".film-picture").cloneNode());
    root.querySelector(".film-picture").replaceWith(canvas);
    this.picture = new Picture(canvas, info, () => this.#lose());
    this.loaded = false;     // in full
    this.shown = new Shown(info.shownUrl);
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
    // What was drawn is lost where the graphics card was reset: an outline must not be missing unseen.
    this.layer.addEventListener("contextrestored", () => this.refreshLayer());
    this.resizer = new ResizeObserver(() => this.#resize());
    this.resizer.observe(this.stage);
    this.#resize();
  }

  /** @param {string} url  @param {(share: number) => void} onProgress */
  async loadPixels(url, onProgress) {
    const buffer = await fetchBytes(url, onProgress);
    if (this.closed) return;
    this.#order();
    await this.picture.load(buffer);
    this.loaded = true;
    this.root.dataset.depth = "full";
    this.shown.drawn(true);
    this.dispatchEvent(new Event("pixels"));
  }

  // The painter has ended with the picture's pixels: what has loaded them loads them again.
  #lose() {
    if (!this.loaded || this.closed) return;
    this.loaded = false;
    this.root.dataset.depth = "";
    this.shown.drawn(false);
    this.dispatchEvent(new Event("lost"));
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
      @param {import("./geometry.js").Point} point */
  async valueAt(point) { return this.loaded ? this.picture.value(Math.floor(point.x), Math.floor(point.y)) : null; }

  /** Window and level for the pixels of the area; nothing where it holds too few of them. */
  async windowToArea() {
    const fitting = this.loaded && await this.picture.windowOf(this.area);
    if (!fitting || this.closed) return;
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
    this.#placeStale = this.#pictureStale = this.#layerStale = true;
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
    this.shown.close();
    this.resizer.disconnect();
    this.screen?.removeEventListener("change", this.onScreen);
    cancelAnimationFrame(this.#frame);
    this.picture.close();
  }

  /** @param {boolean} moving */
  #request(moving) {
    if (this.closed) return;
    this.#moving ||= moving;
    this.#frame ||= requestAnimationFrame(() => this.#drawNow());
    this.dispatchEvent(new Event("change"));
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
    this.#placeStale = this.#pictureStale = true;
    this.#followed = this.geometry.copy(); // at once: the layer's canvas is empty now
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
    // The painter draws in the frame after its order: so does what lies on the picture, or it would run ahead of it.
    if (this.#followed) this.#follow();
    if (!this.loaded) this.#placePreview();
    if (this.#pictureStale) this.#order();
    if (this.#placeStale) {
      this.#placeStale = false;
      this.#followed = this.geometry.copy();
      if (this.loaded) this.#frame = requestAnimationFrame(() => this.#drawNow());
      else this.#follow();
    } else if (this.#layerStale) this.#drawLayer();
  }

  // The picture lies elsewhere on the film now.
  #follow() {
    this.lying = this.#followed;
    this.#followed = null;
    this.#drawLayer();
    this.dispatchEvent(new Event("layout"));
  }

  // What the painter is to draw.
  #order() {
    const { geometry, ratio } = this;
    const { turn, flipped } = geometry;
    const [left, top, scale] = [geometry.x * ratio, geometry.y * ratio, geometry.scale * ratio];
    this.picture.draw({
      left, top, scale, turn, flipped, matrix: geometry.transform(scale, left, top),
      width: this.layer.width, height: this.layer.height,
      window: this.windowing.now, hides: this.shutter.closed, moving: this.#moving,
    });
    this.#pictureStale = this.#moving = false;
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

  // The transform from source pixels to the film's canvases; returns its scale.
  /** @param {CanvasRenderingContext2D} context  @param {number} ratio */
  #toPicture(context, ratio) {
    const { lying: geometry } = this;
    const scale = geometry.scale * ratio;
    context.setTransform(...geometry.transform(scale, geometry.x * ratio, geometry.y * ratio));
    return scale;
  }

  #drawLayer() {
    this.#layerStale = false;
    const context = this.layer.getContext("2d");
    const { lying: geometry, ratio } = this;
    context.reset(); // not clearRect: on paper Chromium repeats it, and clears the picture below as well
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
  showLoupe(sx, sy) { if (this.loaded) this.loupe.show(sx, sy); }

  hideLoupe() { this.loupe.hide(); }
}
