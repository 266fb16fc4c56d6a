// The editor on the page: its row of tools above the picture, what it says, and the brush under the pointer.

import { numberText } from "../language.js";

/** @typedef {import("./editor.js").Editor} Editor */

const TOOLS = ["brush", "eraser", "polygon", "fill", "delete"];

export class EditBar {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.film = editor.viewer.root;
    this.root = this.film.querySelector(".film-edit");
    /** @type {HTMLElement | null} */
    this.status = this.root?.querySelector("[data-edit=status]");
    /** @type {HTMLElement | null} */
    this.takeOver = this.root?.querySelector("[data-action=edit-take-over]");
    this.cursor = this.film.querySelector(".film-brush");
    this.wasDrawing = false;
    editor.tools.addEventListener("change", () => this.#moved());
    editor.viewer.addEventListener("layout", () => this.#moved());
  }

  open() { this.root.hidden = false; this.root.dataset.state = this.editor.isOpen ? "open" : "closed"; }

  close() { this.root.hidden = true; delete this.film.dataset.stored; }

  /** @param {string} text */
  say(text, bad = false) {
    this.status.textContent = text;
    this.status.title = text;
    this.status.classList.toggle("bad", bad);
  }

  /** @param {boolean} offered  another reader edits, or has taken over */
  offerTakeOver(offered) { this.takeOver.hidden = !offered; }

  /** Which tool is in use, the brush's size, and what can be undone. */
  show() {
    const { editor, root } = this;
    const { isDrawing, size, unit, history } = editor;
    this.wasDrawing = isDrawing;
    root.dataset.state = editor.isOpen ? "open" : "closed";
    for (const tool of TOOLS) {
      root.querySelector(`[data-action=edit-${tool}]`).setAttribute("aria-pressed", String(isDrawing && editor.tool === tool));
    }
    this.film.querySelector(".film-tools [data-action=edit]").setAttribute("aria-pressed", String(editor.isOpen));
    root.querySelector("[data-edit=size]").textContent = `${numberText(size, unit === "mm" ? 1 : 0)} ${unit}`;
    for (const [name, can] of /** @type {const} */ ([["undo", history?.canUndo], ["redo", history?.canRedo]])) {
      root.querySelector(`[data-action=edit-${name}]`).setAttribute("aria-disabled", String(!can));
    }
    this.#moveCursor();
    editor.page.changed();
  }

  // The pointer or the picture has moved, or another tool is in use.
  #moved() {
    if (!this.root) return;
    if (this.editor.isDrawing !== this.wasDrawing) this.show();
    else this.#moveCursor();
  }

  #moveCursor() {
    const { isDrawing, tool, tools, radii, viewer: { geometry } } = this.editor;
    this.cursor.hidden = !isDrawing;
    if (!isDrawing) return;
    const at = tools.hover ?? { x: geometry.width / 2, y: geometry.height / 2 };
    const [rx, ry] = geometry.turn % 2 ? [radii[1], radii[0]] : radii;
    const isRound = tool === "brush" || tool === "eraser";
    const [width, height] = isRound ? [2 * rx * geometry.scale, 2 * ry * geometry.scale] : [9, 9];
    this.cursor.dataset.tool = tool;
    const { style } = this.cursor;
    style.width = `${Math.max(3, width)}px`;
    style.height = `${Math.max(3, height)}px`;
    style.transform = `translate(${at.x}px, ${at.y}px) translate(-50%, -50%)`;
  }
}
