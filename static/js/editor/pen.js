// The tools of the editor under the pointer, or in the middle of the film by keyboard: strokes, the corners of a
// polygon, a click into a gap or a region. viewer/tools.js calls it while the tool is "draw".

import { _ } from "../language.js";

/** @typedef {import("../viewer/geometry.js").Point} Point */

export class Pen {
  /** Of a polygon that is not closed yet.
      @type {Point[]} */
  corners = [];
  /** @type {Point | null} */
  #last = null;

  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) { this.editor = editor; }

  /** @param {Point} point */
  start(point) {
    if (!this.editor.isOpen || this.editor.isSaving) return;
    this.editor.touched();
    if (this.editor.tool === "polygon") { this.#corner(point); return; }
    if (this.editor.tool === "fill" || this.editor.tool === "delete") { this.#click(point); return; }
    this.#last = point;
    this.move(point);
  }

  /** @param {Point} point */
  move(point) {
    if (!this.#last || !this.editor.isOpen) return;
    const [rx, ry] = this.editor.radii;
    this.editor.mask.stroke(this.#last, point, Math.max(rx, 0.01), Math.max(ry, 0.01), this.editor.tool === "brush" ? 1 : 0);
    const pad = 1;
    this.editor.layer.refresh([
      Math.min(this.#last.x, point.x) - rx - pad, Math.min(this.#last.y, point.y) - ry - pad,
      Math.max(this.#last.x, point.x) + rx + pad, Math.max(this.#last.y, point.y) + ry + pad,
    ]);
    this.#last = point;
  }

  end() {
    if (!this.#last) return;
    this.#last = null;
    this.editor.edited(undefined);
  }

  /** A second finger: it was no stroke. */
  cancel() {
    this.#last = null;
    const rect = this.editor.mask?.revert();
    if (rect) this.editor.layer.refresh(rect);
  }

  double() { if (this.editor.tool === "polygon" && this.corners.length > 2) this.#closePolygon(); }

  /** @param {Point} point */
  #corner(point) {
    const [first] = this.corners;
    const near = 8 / this.editor.viewer.geometry.scale;
    if (this.corners.length > 2 && Math.hypot(point.x - first.x, point.y - first.y) < near) { this.#closePolygon(); return; }
    const last = this.corners.at(-1);
    if (last && Math.hypot(point.x - last.x, point.y - last.y) < near / 4) return; // the second click of a double one
    this.corners.push(point);
    this.#showCorners();
  }

  #closePolygon() {
    const { corners } = this;
    this.drop();
    this.editor.mask.polygon(corners);
    this.editor.edited(undefined);
  }

  /** Drops the corners of a polygon that is not closed. */
  drop() {
    if (!this.corners.length) return;
    this.corners = [];
    this.#showCorners();
  }

  #showCorners() {
    this.editor.viewer.corners = this.corners;
    this.editor.viewer.refreshLayer();
  }

  /** @param {Point} point */
  #click(point) {
    const done = this.editor.tool === "fill" ? this.editor.mask.fill(point) : this.editor.mask.removeRegion(point);
    if (!done) {
      this.editor.mask.revert();
      this.editor.bar.say(this.editor.tool === "fill" ? _("This gap is not enclosed by the outline.") : _("Nothing is outlined here."), true);
      return;
    }
    this.editor.edited(undefined);
  }

  /** By keyboard the tool is used where the pointer is, or in the middle of the film, under which the arrow keys
      move the picture. */
  apply() {
    if (!this.editor.isDrawing) return;
    const { geometry } = this.editor.viewer;
    const at = this.editor.tools.hover ?? { x: geometry.width / 2, y: geometry.height / 2 };
    const point = geometry.toPicture(at.x, at.y);
    const last = this.corners.at(-1);
    const isSame = last && Math.hypot(point.x - last.x, point.y - last.y) < 1 / geometry.scale;
    if (this.editor.tool === "polygon" && this.corners.length > 2 && (this.editor.tools.hover || isSame)) { this.#closePolygon(); return; }
    this.start(point);
    this.end();
  }
}
