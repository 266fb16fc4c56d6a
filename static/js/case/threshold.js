// The threshold slider: outlines the model's probability map at another level, with the area counted
// by the server's arithmetic. At the model's own threshold the server's numbers are shown.

import { _, numberText } from "../language.js";

const STEPS = 99;

/** '31 cm²', '4.2 cm²', '85 mm²' or '12,345 px': the same texts as the server's.
    @param {number} pixels  @param {import("../viewer/annotations.js").Spacing | null} spacing */
export function areaText(pixels, spacing) {
  if (!spacing) return `${numberText(pixels)} px`;
  const mm2 = pixels * spacing.row_mm * spacing.column_mm;
  if (mm2 >= 995) return `${numberText(mm2 / 100, 0)} cm²`;
  return mm2 >= 99.5 ? `${numberText(mm2 / 100, 1)} cm²` : `${numberText(mm2, 0)} mm²`;
}

/** @typedef {import("../viewer/viewer.js").ViewerInfo} ViewerInfo */

export class Threshold {
  #frame = 0;

  /** @param {import("../viewer/viewer.js").Viewer} viewer  @param {ViewerInfo} info
      @param {import("../base.js").Part} panel */
  constructor(viewer, info, panel) {
    this.viewer = viewer;
    this.info = info;
    this.panel = panel;
    /** @type {HTMLInputElement & { value: any }} read and set as a number */
    this.input = panel.querySelector("#threshold-input");
    this.modelPosition = Math.min(STEPS, Math.max(1, Math.round(info.threshold * 100)));
    this.thresholds = Array.from({ length: STEPS }, (__, i) => (i + 1 === this.modelPosition ? info.threshold : (i + 1) / 100));
    this.position = this.modelPosition;
    /** @type {Float64Array | number[] | null} */
    this.counts = null;
    this.modelArea = this.#part("area").textContent;
    this.measured = ["size", "distance"].map((name) => this.#part(name)).filter(Boolean)
      .map((element) => ({ element, text: element.textContent }));
    this.pointName = this.#out("name").textContent;
    const share = (this.modelPosition - 1) / (STEPS - 1);
    panel.querySelector(".operating").style.left = `calc(8px + (100% - 16px) * ${share} - 1px)`;
    this.input.value = this.modelPosition / 100;
    this.input.oninput = () => this.set(Math.round(this.input.value * 100));
    this.#cut();
  }

  /** @param {string} name */
  #part(name) { return this.panel.querySelector(`[data-measure=${name}]`); }

  /** @param {string} name */
  #out(name) { return this.panel.querySelector(`[data-threshold=${name}]`); }

  /** Counts the area for every position of the slider, away from the main thread.
      @param {Uint8Array} map */
  count(map) {
    const worker = new Worker(new URL("../viewer/area.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", (event) => {
      this.counts = event.data;
      worker.terminate();
      this.#update();
    });
    worker.addEventListener("error", () => { this.counts = []; worker.terminate(); this.#update(); });
    const { rows, columns } = this.info;
    worker.postMessage({
      map, rows: this.info.map.rows, columns: this.info.map.columns,
      sourceRows: rows, sourceColumns: columns, thresholds: this.thresholds, least: this.info.islandFloor,
    });
  }

  get value() { return this.thresholds[this.position - 1]; }

  get isAtModel() { return this.position === this.modelPosition; }

  /** @param {number} by */
  step(by) { this.set(this.position + by); }

  reset() { this.set(this.modelPosition); }

  /** @param {number} position */
  set(position) {
    this.position = Math.min(STEPS, Math.max(1, position));
    this.input.value = this.position / 100;
    if (!this.#frame) this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.#cut(); this.#update(); });
  }

  // Where the model found none, its own threshold outlines nothing; a moved one shows the map at that level.
  #cut() {
    const empty = this.isAtModel && !this.info.measuredPixels;
    this.viewer.overlay.cut(empty ? null : this.value, this.info.islandFloor);
    this.viewer.overlay.distanceLine = this.isAtModel ? this.info.distanceLine : null;
    this.viewer.overlay.levelLines = this.isAtModel ? this.info.levelLines : [];
    this.viewer.refreshLayer();
  }

  #update() {
    const atModel = this.isAtModel;
    /** @type {HTMLElement & { dataset: { pixels?: any } }} */
    const area = this.#part("area");
    const pixels = atModel ? this.info.measuredPixels : this.counts?.[this.position - 1];
    const unknown = this.counts ? _("not counted") : "…";
    area.textContent = atModel ? this.modelArea : pixels === undefined ? unknown : pixels ? areaText(pixels, this.info.spacing) : "–";
    area.dataset.pixels = pixels ?? "";
    // Size, distance and side are measured by the server, at the model's threshold alone.
    for (const { element, text } of this.measured) {
      element.classList.toggle("stale", !atModel);
      element.textContent = atModel ? text : _("%(text)s at %(threshold)s", { text, threshold: numberText(this.info.threshold, 2) });
    }
    this.#out("area").textContent = atModel ? "" : _("Area %(area)s at your threshold", { area: area.textContent });
    const value = numberText(this.value, 2), name = atModel ? this.pointName : _("your threshold");
    this.#out("value").textContent = value;
    this.#out("name").textContent = name;
    this.#out("name").classList.toggle("yours", !atModel);
    this.input.setAttribute("aria-valuetext", _("%(value)s, %(name)s, area %(area)s", { value, name, area: area.textContent }));
  }

  /** Whether the panel has a slider; asked again after the live page has replaced the panel.
      @param {ViewerInfo} info  @param {Element} panel */
  static wanted(info, panel) { return Boolean(info.map && panel.querySelector("#threshold-input")); }
}
