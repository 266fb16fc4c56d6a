// Pointers on the film: drag for the chosen tool, right or middle button and space pan, two fingers
// pinch, the wheel zooms to the cursor.

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Line} Line */

export const TOOLS = ["window", "area", "pan", "zoom", "ruler", "arrow", "loupe"];

export class Tools extends EventTarget {
  /** @type {Map<number, Point>} */
  #pointers = new Map();
  /** @type {{ distance: number, x: number, y: number } | null} */
  #pinch = null;
  /** @type {{ tool: string, from: Point, last: Point, item?: import("./annotations.js").Annotation } | null} */
  #drag = null;

  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    super();
    this.viewer = viewer;
    this.current = "window";
    this.space = false;
    /** Draws while the tool is "draw": editor/editor.js.
        @type {{ start(at: Point): void, move(at: Point): void, end(): void, cancel(): void, double(): void } | null} */
    this.pen = null;
    /** @type {Point | null} */
    this.hover = null;      // last position of the cursor on the film, for zoom by key and the readout
    this.end = new AbortController();
    const { stage } = viewer;
    const { signal } = this.end;
    stage.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    stage.addEventListener("pointermove", (event) => this.#move(event), { signal });
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.#up(event), { signal });
    stage.addEventListener("pointerleave", () => { this.hover = null; this.#changed(); if (!this.#drag) viewer.hideLoupe(); }, { signal });
    stage.addEventListener("blur", () => { if (!this.hover) viewer.hideLoupe(); }, { signal });
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false, signal });
    stage.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
    stage.addEventListener("dblclick", (event) => this.#double(event), { signal });
  }

  /** The film is another viewer's from now on. */
  close() { this.end.abort(); }

  /** @param {string} name */
  use(name) {
    this.current = name;
    this.viewer.root.dataset.tool = name;
    if (name !== "loupe") this.viewer.hideLoupe();
    else { // at once, and by keys alone: arrows move the picture under it
      const { stage, geometry: { width, height } } = this.viewer;
      const at = this.hover ?? (document.activeElement === stage ? { x: width / 2, y: height / 2 } : null);
      if (at) this.viewer.showLoupe(at.x, at.y);
    }
    this.#changed();
  }

  #changed() { this.dispatchEvent(new Event("change")); }

  /** @param {MouseEvent} event  @returns {Point} */
  #at(event) {
    const box = this.viewer.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {PointerEvent} event */
  #toolFor(event) {
    if (event.button === 1 || event.button === 2 || this.space) return "pan";
    return this.current;
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const at = this.#at(event);
    this.viewer.stage.focus({ preventScroll: true });
    this.viewer.stage.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, at);
    event.preventDefault();
    if (this.#pointers.size === 2) { this.#startPinch(); return; }
    if (this.#pointers.size > 2) return;
    const tool = this.#toolFor(event);
    this.#drag = { tool, from: at, last: at };
    this.viewer.root.dataset.dragging = tool;
    if (tool === "ruler" || tool === "arrow") this.#drag.item = this.viewer.annotations.start(tool, this.viewer.geometry.toPicture(at.x, at.y));
    if (tool === "loupe") this.viewer.showLoupe(at.x, at.y);
    if (tool === "draw") this.pen.start(this.viewer.geometry.toPicture(at.x, at.y));
  }

  #startPinch() {
    this.viewer.area = null;
    if (this.#drag?.tool === "draw") this.pen.cancel();
    if (this.#drag?.item) this.viewer.annotations.remove(this.#drag.item);
    this.#drag = null;
    const [a, b] = [...this.#pointers.values()];
    this.#pinch = { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.#at(event);
    this.hover = at;
    this.#changed();
    if (this.#pointers.has(event.pointerId)) this.#pointers.set(event.pointerId, at);
    if (this.#pinch && this.#pointers.size === 2) { this.#pinchTo(); return; }
    if (!this.#drag) {
      if (this.current === "loupe" && event.pointerType === "mouse") this.viewer.showLoupe(at.x, at.y);
      return;
    }
    if (this.#drag.tool === "draw") this.#draw(event);
    else this.#dragTo(at);
  }

  // With the places between two events: a quick stroke is no row of straight lines.
  /** @param {PointerEvent} event */
  #draw(event) {
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      const { x, y } = this.#at(one);
      this.pen.move(this.viewer.geometry.toPicture(x, y));
    }
  }

  /** @param {Point} at */
  #dragTo(at) {
    const { viewer } = this;
    const { tool, from, last } = this.#drag;
    const dx = at.x - last.x;
    const dy = at.y - last.y;
    this.#drag.last = at;
    if (tool === "window") { viewer.windowing.drag(dx, dy); viewer.windowChanged(); }
    if (tool === "pan") { viewer.geometry.pan(dx, dy); viewer.moved(); }
    if (tool === "area") { viewer.area = this.#box(from, at); viewer.refreshLayer(); }
    if (tool === "zoom") { viewer.geometry.zoomAt(Math.exp(-dy * 0.008), from.x, from.y); viewer.moved(); }
    if (this.#drag.item) { viewer.annotations.stretch(this.#drag.item, viewer.geometry.toPicture(at.x, at.y)); viewer.refreshLayer(); }
    if (tool === "loupe") viewer.showLoupe(at.x, at.y);
  }

  /** Between two points of the film.
      @param {Point} from  @param {Point} to  @returns {Line} */
  #box(from, to) {
    const a = this.viewer.geometry.toPicture(from.x, from.y);
    const b = this.viewer.geometry.toPicture(to.x, to.y);
    return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
  }

  #pinchTo() {
    const [a, b] = [...this.#pointers.values()];
    const now = { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    const { geometry } = this.viewer;
    geometry.pan(now.x - this.#pinch.x, now.y - this.#pinch.y);
    if (this.#pinch.distance > 0) geometry.zoomAt(now.distance / this.#pinch.distance, now.x, now.y);
    this.#pinch = now;
    this.viewer.moved();
  }

  /** @param {Event & Partial<PointerEvent>} event */
  #up(event) {
    this.#pointers.delete(event.pointerId);
    if (this.#pointers.size < 2) this.#pinch = null;
    const drawn = this.#drag?.item;
    if (drawn) {
      const stays = this.viewer.annotations.finish(drawn, 3 / this.viewer.geometry.scale);
      if (stays && drawn.kind === "arrow") this.viewer.arrowText.ask(drawn, event.pointerType);
      this.viewer.refreshLayer();
    }
    if (this.#drag?.tool === "draw") this.pen.end();
    if (this.viewer.area) {
      if (event.type === "pointerup") this.viewer.windowToArea();
      this.viewer.area = null;
      this.viewer.refreshLayer();
    }
    if (event.pointerType !== "mouse") this.viewer.hideLoupe();
    this.#drag = null;
    delete this.viewer.root.dataset.dragging;
    this.#changed();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const at = this.#at(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const rate = event.ctrlKey ? 0.01 : 0.0016;
    this.viewer.geometry.zoomAt(Math.exp(-event.deltaY * lines * rate), at.x, at.y);
    this.viewer.moved();
  }

  /** @param {MouseEvent} event */
  #double(event) {
    if (this.current === "draw") { this.pen.double(); return; }
    if (this.current === "ruler" || this.current === "arrow") return;
    const { geometry } = this.viewer;
    const at = this.#at(event);
    if (geometry.fitted) geometry.setScale(Math.max(1 / this.viewer.ratio, geometry.scale * 2), at.x, at.y);
    else geometry.fit();
    this.viewer.moved();
  }
}
