// The threshold slider: another cut through the model's probability map, with the area counted by
// the server's arithmetic. At the model's own threshold the server's numbers stand.

const STEPS = 99;

/** '31 cm²', '4.2 cm²', '85 mm²' or '12,345 px': the same words as the server's. */
export function areaText(pixels, spacing) {
  if (!spacing) return `${pixels.toLocaleString("en-US")} px`;
  const mm2 = pixels * spacing.row_mm * spacing.column_mm;
  if (mm2 >= 995) return `${(mm2 / 100).toFixed(0)} cm²`;
  return mm2 >= 99.5 ? `${(mm2 / 100).toFixed(1)} cm²` : `${mm2.toFixed(0)} mm²`;
}

export class Threshold {
  #frame = 0;

  constructor(viewer, info, panel) {
    this.viewer = viewer;
    this.info = info;
    this.panel = panel;
    this.input = panel.querySelector("#threshold-input");
    this.home = Math.min(STEPS, Math.max(1, Math.round(info.threshold * 100)));
    this.thresholds = Array.from({ length: STEPS }, (_, i) => (i + 1 === this.home ? info.threshold : (i + 1) / 100));
    this.position = this.home;
    this.counts = null;
    this.shown = this.#part("area").textContent;
    this.far = this.#part("distance")?.textContent ?? "";
    this.word = this.#out("word").textContent;
    const share = (this.home - 1) / (STEPS - 1);
    panel.querySelector(".operating").style.left = `calc(8px + (100% - 16px) * ${share} - 1px)`;
    this.input.value = this.home / 100;
    this.input.oninput = () => this.set(Math.round(this.input.value * 100));
    this.#cut();
  }

  #part(name) { return this.panel.querySelector(`[data-measure=${name}]`); }

  #out(name) { return this.panel.querySelector(`[data-threshold=${name}]`); }

  /** Counts the area for every position of the slider, away from the main thread. */
  count(map) {
    const worker = new Worker(new URL("../viewer/area.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", (event) => {
      this.counts = event.data;
      worker.terminate();
      this.#tell();
    });
    worker.addEventListener("error", () => { this.counts = []; worker.terminate(); this.#tell(); });
    const { rows, columns } = this.info;
    worker.postMessage({
      map, rows: this.info.map.rows, columns: this.info.map.columns,
      sourceRows: rows, sourceColumns: columns, thresholds: this.thresholds,
    });
  }

  get value() { return this.thresholds[this.position - 1]; }

  get isModels() { return this.position === this.home; }

  step(by) { this.set(this.position + by); }

  reset() { this.set(this.home); }

  set(position) {
    this.position = Math.min(STEPS, Math.max(1, position));
    this.input.value = this.position / 100;
    if (!this.#frame) this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.#cut(); this.#tell(); });
  }

  // Where the model found none, its own threshold outlines nothing; a moved one shows the map's cut.
  #cut() {
    const empty = this.isModels && !this.info.measuredPixels;
    this.viewer.overlay.cut(empty ? null : this.value);
    this.viewer.overlay.distanceLine = this.isModels ? this.info.distanceLine : null;
    this.viewer.overlay.levelLines = this.isModels ? this.info.levelLines : [];
    this.viewer.refreshLayer();
  }

  #tell() {
    const own = this.isModels;
    const area = this.#part("area");
    const pixels = own ? this.info.measuredPixels : this.counts?.[this.position - 1];
    const unknown = this.counts ? "not counted" : "…";
    area.textContent = own ? this.shown : pixels === undefined ? unknown : pixels ? areaText(pixels, this.info.spacing) : "–";
    area.dataset.pixels = pixels ?? "";
    // Distance and side are measured by the server, at the model's threshold alone.
    const distance = this.#part("distance");
    if (distance) {
      distance.classList.toggle("stale", !own);
      distance.textContent = own ? this.far : `${this.far} at ${this.info.threshold.toFixed(2)}`;
    }
    this.#out("value").textContent = this.value.toFixed(2);
    this.#out("word").textContent = own ? this.word : "your threshold";
    this.#out("word").classList.toggle("yours", !own);
    this.input.setAttribute("aria-valuetext", `${this.value.toFixed(2)}, ${own ? this.word : "your threshold"}, area ${area.textContent}`);
  }

  /** After the panel was redrawn by the live page: nothing of it may be held on to. */
  static wanted(info, panel) { return Boolean(info.map && panel.querySelector("#threshold-input")); }
}
