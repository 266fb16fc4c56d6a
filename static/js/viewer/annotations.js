// What the reader draws on a picture, in amber: rulers, and arrows with a short text. It is kept with the reader's
// draft of the picture, and each review keeps what was there then. What an earlier review kept is drawn dashed,
// while it is looked at, and cannot be changed.

import { numberText } from "../language.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Line} Line */
/** @typedef {{ row_mm: number, column_mm: number, source: string }} Spacing */
/** @typedef {{ kind: "ruler" | "arrow", line: Line, text: string }} Annotation  an arrow points at its line's end */

const DASHES = [7, 4];   // CSS pixels
const HEAD = 11;         // of an arrow

export class Annotations {
  /** `onChange` is called with all of them when one was finished, named or removed.
      @param {Spacing | null} spacing  @param {Annotation[]} items
      @param {((items: Annotation[]) => void) | null} onChange */
  constructor(spacing, items = [], onChange = null) {
    this.spacing = spacing;   // null where it is not known
    this.items = items;
    this.onChange = onChange;
    /** What an earlier review kept, while it is looked at.
        @type {Annotation[]} */
    this.kept = [];
  }

  /** Starts one and returns it; it may be removed while it is being dragged.
      @param {"ruler" | "arrow"} kind  @param {Point} point */
  start(kind, point) {
    /** @type {Annotation} */
    const item = { kind, line: [point.x, point.y, point.x, point.y], text: "" };
    this.items.push(item);
    return item;
  }

  /** @param {Annotation} item  @param {Point} point */
  stretch({ line }, point) {
    line[2] = point.x;
    line[3] = point.y;
  }

  /** A click without a drag leaves nothing; resolves to whether it stays.
      @param {Annotation} item  @param {number} minimum */
  finish(item, minimum) {
    const [x0, y0, x1, y1] = item.line;
    const stays = Math.hypot(x1 - x0, y1 - y0) >= minimum;
    if (stays) this.onChange?.(this.items);
    else this.remove(item);
    return stays;
  }

  /** @param {Annotation} item  @param {string} text */
  name(item, text) {
    item.text = text.trim();
    this.onChange?.(this.items);
  }

  /** @param {Annotation} item */
  remove(item) { this.items = this.items.filter((other) => other !== item); }

  removeLast() {
    if (!this.items.length) return;
    this.items.pop();
    this.onChange?.(this.items);
  }

  /** Removes the rulers. Arrows stay: their texts are the reader's. */
  clearRulers() {
    const arrows = this.items.filter(({ kind }) => kind === "arrow");
    if (arrows.length === this.items.length) return;
    this.items = arrows;
    this.onChange?.(this.items);
  }

  /** @param {Annotation} item */
  textOf({ kind, line: [x0, y0, x1, y1], text }) {
    if (kind === "arrow") return text;
    if (!this.spacing) return `${numberText(Math.hypot(x1 - x0, y1 - y0), 0)} px`;
    const { row_mm: down, column_mm: across, source } = this.spacing;
    const length = Math.hypot((x1 - x0) * across, (y1 - y0) * down);
    return `${numberText(length, 1)} mm (${source})`;
  }

  /** Draws on the unscaled context through `toScreen`, so that the lettering stays upright.
      @param {CanvasRenderingContext2D} context  @param {(px: number, py: number) => Point} toScreen
      @param {number} ratio  @param {string} colour */
  draw(context, toScreen, ratio, colour) {
    context.save();
    context.font = `500 ${13 * ratio}px system-ui, sans-serif`;
    context.lineJoin = "round";
    for (const item of this.items) this.#draw(context, item, toScreen, ratio, colour);
    context.setLineDash(DASHES.map((length) => length * ratio));
    for (const item of this.kept) this.#draw(context, item, toScreen, ratio, colour);
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context  @param {Annotation} item
      @param {(px: number, py: number) => Point} toScreen  @param {number} ratio  @param {string} colour */
  #draw(context, item, toScreen, ratio, colour) {
    const [x0, y0, x1, y1] = item.line;
    const a = toScreen(x0, y0);
    const b = toScreen(x1, y1);
    const path = item.kind === "arrow" ? arrow(a, b, ratio) : ruler(a, b, ratio);
    context.lineWidth = 4.5 * ratio; context.strokeStyle = "rgb(0 0 0 / 55%)"; context.stroke(path);
    context.lineWidth = 1.75 * ratio; context.strokeStyle = colour; context.stroke(path);
    const text = this.textOf(item);
    if (text) letter(context, text, item.kind === "arrow" ? a : b.x >= a.x ? b : a, ratio, colour);
  }
}

/** @param {Point} a  @param {Point} b  @param {number} ratio */
function ruler(a, b, ratio) {
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const nx = -(b.y - a.y) / length * 6 * ratio;
  const ny = (b.x - a.x) / length * 6 * ratio;
  const path = new Path2D();
  path.moveTo(a.x, a.y); path.lineTo(b.x, b.y);
  for (const end of [a, b]) { path.moveTo(end.x - nx, end.y - ny); path.lineTo(end.x + nx, end.y + ny); }
  return path;
}

/** @param {Point} a  @param {Point} b  @param {number} ratio */
function arrow(a, b, ratio) {
  const along = Math.atan2(b.y - a.y, b.x - a.x);
  const path = new Path2D();
  path.moveTo(a.x, a.y); path.lineTo(b.x, b.y);
  for (const side of [-0.45, 0.45]) {
    path.moveTo(b.x, b.y);
    path.lineTo(b.x - HEAD * ratio * Math.cos(along + side), b.y - HEAD * ratio * Math.sin(along + side));
  }
  return path;
}

/** @param {CanvasRenderingContext2D} context  @param {string} text  @param {Point} at
    @param {number} ratio  @param {string} colour */
function letter(context, text, at, ratio, colour) {
  context.save();
  context.setLineDash([]);
  context.lineWidth = 4 * ratio;
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  const width = context.measureText(text).width;
  const fits = at.x + 8 * ratio + width <= context.canvas.width;
  const left = fits ? at.x + 8 * ratio : at.x - 8 * ratio - width;
  context.strokeText(text, left, at.y + 4 * ratio);
  context.fillStyle = colour;
  context.fillText(text, left, at.y + 4 * ratio);
  context.restore();
}
