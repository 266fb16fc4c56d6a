// The picture on its film's canvas, for the page: what it asks is done by a painter in a worker, or by one on the page
// where the browser has no canvas for workers or the worker could not start.

// Milliseconds for a picture while something moves: a frame of 60 a second, of which the page has 8 for all that it does.
const BUDGET = 12;
const BUDGET_ON_PAGE = 4;

export class Picture {
  /** @type {Worker | null} */
  #worker = null;
  /** On the page, which loads it for that alone.
      @type {Promise<import("./painter.js").Painter> | null} */
  #painter = null;
  /** @type {Map<number, { done(answer: any): void, failed(error: Error): void }>} */
  #waiting = new Map();
  #asked = 0;

  /** `onLost` is called when the worker has ended by itself, with the pixels.
      @param {HTMLCanvasElement} canvas  never drawn on before
      @param {{ columns: number, rows: number, shutters: import("./geometry.js").Corner[][] }} size
      @param {() => void} onLost */
  constructor(canvas, { columns, rows, shutters }, onLost) {
    this.canvas = canvas;
    this.given = /** @type {const} */ ([columns, rows, shutters]);
    this.onLost = onLost;
    if (canvas.transferControlToOffscreen) this.#start();
    else this.#paintHere();
  }

  #start() {
    const worker = new Worker(new URL("./painter_worker.js", import.meta.url), { type: "module" });
    const canvas = this.canvas.transferControlToOffscreen();
    worker.addEventListener("message", ({ data: { number, answer, failed } }) => {
      const { done, failed: fail } = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (failed) fail(new Error("the picture could not be drawn"));
      else done(answer);
    });
    worker.addEventListener("error", () => {
      this.#end();
      const fresh = /** @type {HTMLCanvasElement} */ (this.canvas.cloneNode());
      this.canvas.replaceWith(fresh);
      this.canvas = fresh;
      this.#paintHere();
      this.onLost();
    });
    worker.postMessage({ name: "start", given: [canvas, ...this.given, BUDGET] }, [canvas]);
    this.#worker = worker;
  }

  #paintHere() {
    const { canvas } = this;
    this.#painter = import("./painter.js").then(({ Painter }) => new Painter(canvas, ...this.given, BUDGET_ON_PAGE));
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = null;
    for (const { failed } of this.#waiting.values()) failed(new Error("the picture is not drawn any more"));
    this.#waiting.clear();
  }

  /** @param {"load" | "value" | "windowOf" | "magnify"} name  @param {any[]} given
      @param {Transferable[]} transfer  @returns {Promise<any>} */
  async #ask(name, given, transfer = []) {
    const painter = /** @type {any} */ (await this.#painter);
    if (painter) return painter[name](...given);
    if (!this.#worker) throw new Error("the picture is closed");
    const number = this.#asked += 1;
    return new Promise((done, failed) => {
      this.#waiting.set(number, { done, failed });
      this.#worker.postMessage({ name, given, number }, transfer);
    });
  }

  /** Takes the pixels, which the page then has no longer; resolves once they are drawn.
      @param {ArrayBuffer} buffer  16 bits each, little-endian  @returns {Promise<void>} */
  load(buffer) { return this.#ask("load", [buffer], [buffer]); }

  /** Draws soon; of orders that come too quickly the last one.
      @param {import("./painter.js").Order} order */
  draw(order) {
    if (this.#painter) this.#painter.then((painter) => painter.draw(order), () => {});
    else this.#worker?.postMessage({ name: "draw", given: [order] });
  }

  /** The density of a source pixel, null outside the picture or before it has loaded.
      @param {number} x  @param {number} y  @returns {Promise<number | null>} */
  value(x, y) { return this.#ask("value", [x, y]); }

  /** The window that fits the pixels of a box, null where it holds too few of them.
      @param {import("./geometry.js").Line} box  @returns {Promise<{ centre: number, width: number } | null>} */
  windowOf(box) { return this.#ask("windowOf", [box]); }

  /** Another view of the picture; null where it does not show the picture.
      @param {import("./painter.js").View} view  @returns {Promise<import("./painter.js").Part | null>} */
  magnify(view) { return this.#ask("magnify", [view]); }

  close() { this.#end(); }
}
