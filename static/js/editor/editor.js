// Editing the outline of a picture: tools that change one mask, one stack of undo, and a draft that is stored
// while it grows. The end of the editing is a new version; the AI's own outline never changes.

import { EditBar } from "./bar.js";
import { Draft, post } from "./draft.js";
import { newId } from "../base.js";
import { History } from "./history.js";
import { Mask } from "./mask.js";
import { Pen } from "./pen.js";
import { decode, encode, fromBase64, toBase64 } from "./runs.js";
import { maskAt } from "../viewer/upsample.js";
import { withoutIslands } from "../viewer/islands.js";
import { _, numberText } from "../language.js";

/** @typedef {import("./mask.js").Rect} Rect */
/** @typedef {"brush" | "eraser" | "polygon" | "fill" | "delete"} Tool */
/** @typedef {{ threshold(): number | null, closed(saved: boolean): Promise<void>, changed(): void }} Page  what the
    page does: the threshold that the slider shows, what follows once the editor has closed, a change of state */

/** @type {Record<Tool, string>} */
const HINTS = {
  brush: _("Draw with the brush."),
  eraser: _("Draw to erase."),
  polygon: _("Click the corners. Enter or a double click closes, Escape drops them."),
  fill: _("Click a gap that the outline encloses."),
  delete: _("Click a region to remove it."),
};
const STEP = 1.25;
const BOUNDS = { mm: [0.5, 100], px: [1, 1000] };
const SAVE_FAILED = _("No version was stored: the portal cannot be reached. What you drew is still here; try again.");

export class Editor {
  /** @type {Mask | null} */
  mask = null;
  /** @type {History | null} */
  history = null;
  /** @type {Draft | null} */
  draft = null;
  /** @type {Tool} */
  tool = "brush";
  /** @type {Promise<void>} */
  settled = Promise.resolve();
  #opening = false;
  #saving = false;
  /** @type {Uint8Array | null} */
  #base = null;
  #versionId = "";
  #warned = false;

  /** @param {import("../viewer/viewer.js").Viewer} viewer
      @param {import("../viewer/tools.js").Tools} tools
      @param {import("./layer.js").ReaderLayer} layer  @param {Page} page */
  constructor(viewer, tools, layer, page) {
    this.viewer = viewer;
    this.tools = tools;
    this.layer = layer;
    this.page = page;
    this.bar = new EditBar(this);
    this.pen = tools.pen = new Pen(this);
    document.addEventListener("keydown", (event) => this.#key(event), true);
    addEventListener("beforeunload", (event) => { if (this.draft?.isOpen || this.#saving) event.preventDefault(); });
  }

  get isSaving() { return this.#saving; }

  get isOpen() { return this.mask !== null; }

  /** Whether the pointer draws now; other tools may be in use while the editor is open. */
  get isDrawing() { return this.isOpen && this.tools.current === "draw"; }

  /** The brush's diameter, in mm where the spacing is known. */
  get size() {
    const { preferences, info } = this.viewer;
    return info.spacing ? preferences.brush_mm : preferences.brush_px;
  }

  get unit() { return this.viewer.info.spacing ? "mm" : "px"; }

  /** Half the brush's width and height in source pixels. */
  get radii() {
    const { spacing } = this.viewer.info;
    return spacing ? [this.size / 2 / spacing.column_mm, this.size / 2 / spacing.row_mm] : [this.size / 2, this.size / 2];
  }

  /** Opens the editor, or ends it with a new version. */
  async toggle() { await (this.isOpen ? this.finish() : this.open(false)); }

  /** @param {boolean} takeOver  also while another reader edits */
  async open(takeOver) {
    if (this.#opening || !this.viewer.info.rows) return;
    this.#opening = true;
    this.bar.open();
    this.bar.say(_("Opening …"));
    const { outline, picture, rows, columns } = this.viewer.info;
    const { status, body } = await post(`${outline.url}/begin`, { picture, take_over: takeOver });
    this.#opening = false;
    if (status !== 200) {
      this.bar.offerTakeOver(body.code === "being_edited" || this.isOpen);
      this.bar.say(body.detail || _("The portal cannot be reached. Try again."), true);
      this.page.changed();
      return;
    }
    this.#base = fromBase64(body.base);
    const mine = this.isOpen; // taken back: what is drawn here goes on
    this.draft?.end();
    if (!mine) {
      this.mask = new Mask(decode(fromBase64(body.runs), rows * columns), rows, columns);
      this.history = new History(this.mask);
      this.layer.shown = true;
      this.layer.show(this.mask);
    }
    this.#versionId = newId();
    this.#warned = false;
    this.draft = new Draft(outline.url, { picture, rows, columns }, body, () => encode(this.mask.committed), (state, text) => this.#stored(state, text));
    this.bar.offerTakeOver(false);
    this.use(mine ? this.tool : "brush");
    if (mine) this.draft.changed();
    else this.bar.say(body.is_draft ? _("Your draft goes on.") : body.kept ? _("What was drawn before is a version.") : HINTS.brush);
    this.viewer.root.dataset.editing = "yes";
    this.bar.show();
  }

  /** @param {Tool} tool */
  async use(tool) {
    if (!this.isOpen) { await this.open(false); if (!this.isOpen) return; }
    if (tool !== "polygon") this.pen.drop();
    this.tool = tool;
    this.tools.use("draw");
    if (this.draft.state === "saved") this.bar.say(HINTS[tool]);
    this.bar.show();
  }

  /** @param {number} by  1 or -1 */
  resize(by) {
    const [least, most] = BOUNDS[this.unit];
    const wanted = Math.min(most, Math.max(least, this.size * STEP ** by));
    const next = this.unit === "px" ? Math.max(1, Math.round(wanted) + (Math.round(wanted) === this.size ? by : 0)) : Math.round(wanted * 10) / 10;
    this.viewer.remember(this.unit === "mm" ? { brush_mm: next } : { brush_px: Math.max(1, next) });
    this.bar.show();
  }

  /** Something is drawn again: leaving warns once more. */
  touched() { this.#warned = false; }

  undo() { this.#moved(this.history?.undo()); }

  redo() { this.#moved(this.history?.redo()); }

  /** The AI's outline at the threshold that the slider shows, instead of what is drawn. */
  async fromMap() {
    if (!this.isOpen) { await this.open(false); if (!this.isOpen) return; }
    const { overlay, info } = this.viewer;
    const threshold = this.page.threshold();
    if (!overlay.map || threshold === null) { this.bar.say(_("There is no AI map of this picture."), true); return; }
    const { data, rows, columns } = overlay.map;
    const kept = withoutIslands(data, rows, columns, threshold * 255, info.islandFloor);
    this.#replace(maskAt(kept, rows, columns, info.rows, info.columns, threshold));
    this.bar.say(_("The AI map at %(threshold)s.", { threshold: numberText(threshold, 2) }));
  }

  /** Nothing is outlined. */
  empty() { if (this.isOpen) this.#replace(new Uint8Array(this.mask.data.length)); }

  /** Back to where the editing began; can be undone like any edit. */
  startOver() { if (this.isOpen) this.#replace(decode(this.#base, this.mask.data.length)); }

  /** @param {Uint8Array} data */
  #replace(data) {
    this.pen.drop();
    this.mask.replace(data);
    this.edited(null);
  }

  /** Stores a version and closes the editor; resolves to whether it is closed. What is asked for meanwhile
      waits for `settled`. */
  finish() {
    if (!this.isOpen || this.#saving) return Promise.resolve(false);
    const closing = this.#finish();
    this.settled = closing.then(() => {});
    return closing;
  }

  async #finish() {
    this.pen.drop();
    this.history.commit();
    this.#saving = true;
    this.bar.say(_("Saving …"));
    this.bar.show();
    const { outline, picture, rows, columns } = this.viewer.info;
    const stored = await this.draft.flush();
    const runs = toBase64(encode(this.mask.committed));
    const answer = stored
      ? await post(`${outline.url}/save`, { picture, lock: this.draft.lock, outline: this.#versionId, rows, columns, runs })
      : { status: 0, body: { detail: this.draft.message } };
    this.#saving = false;
    if (answer.status !== 200) {
      if (answer.body.code === "taken_over") this.#stored("lost", answer.body.detail);
      else this.bar.say(answer.body.detail || SAVE_FAILED, true);
      this.bar.show();
      return false;
    }
    await this.#close(Boolean(answer.body.outline));
    return true;
  }

  /** @param {boolean} saved */
  async #close(saved) {
    this.draft.end();
    this.draft = this.history = null;
    this.mask = null;
    this.bar.close();
    delete this.viewer.root.dataset.editing;
    this.tools.use("window");
    this.bar.show();
    await this.page.closed(saved);
  }

  /** True once the page may be left: nothing is open, and an unfinished outline was pointed out. */
  async mayLeave() {
    if (!this.isOpen) return true;
    const { history } = this;
    this.history.commit();
    if (!(await this.draft.flush())) { this.bar.say(this.draft.message || SAVE_FAILED, true); return false; }
    if (!history.canUndo || this.#warned) { await this.draft.leave(); return true; }
    this.#warned = true;
    this.bar.say(_("The outline is a draft. E makes it a version; leave again to keep the draft for later."), true);
    return false;
  }

  /** Ends one edit. Without a rectangle, all is drawn again.
      @param {Rect | null | undefined} rect  undefined: what the mask has noted as changed */
  edited(rect) {
    const changed = rect === undefined ? this.mask.dirty : rect;
    if (!this.history.commit()) return;
    this.#versionId = newId();
    this.layer.refresh(changed);
    this.draft.changed();
    this.bar.show();
  }

  /** @param {Rect | null | undefined} rect */
  #moved(rect) {
    if (!rect) return;
    this.#versionId = newId();
    this.layer.refresh();
    this.draft.changed();
    this.bar.show();
  }

  // Enter and Escape act on the film alone: elsewhere they belong to what has the focus.
  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.isOpen || document.querySelector("dialog[open]")) return;
    const { target } = event;
    const isText = target instanceof Element && target.matches("textarea, select, input:not([type=range])");
    const undoes = (event.ctrlKey || event.metaKey) && !event.altKey && !isText;
    const key = event.key.toLowerCase();
    if (undoes && key === "z") this.#take(event, () => (event.shiftKey ? this.redo() : this.undo()));
    else if (undoes && key === "y") this.#take(event, () => this.redo());
    else if (target !== this.viewer.stage && target !== document.body) return;
    else if (key === "enter" && !event.repeat) this.#take(event, () => this.pen.apply());
    else if (key === "escape" && this.pen.corners.length) this.#take(event, () => this.pen.drop());
  }

  /** @param {KeyboardEvent} event  @param {() => void} act */
  #take(event, act) {
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  /** @param {import("./draft.js").State} state  @param {string} text */
  #stored(state, text) {
    if (!this.isOpen) return;
    const words = { saved: _("Draft stored."), saving: _("Storing …"), waiting: text, lost: text, refused: text };
    this.bar.offerTakeOver(state === "lost");
    this.bar.say(words[state], state !== "saved" && state !== "saving");
    this.viewer.root.dataset.stored = state;
    this.page.changed();
  }
}
