// The reader's own measurements, in amber. They are kept with the reader's draft of the picture.

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Line} Line */
/** @typedef {{ row_mm: number, column_mm: number, source: string }} Spacing */

export class Rulers {
  /** `onChange` is called with all lines when one was finished or removed.
      @param {Spacing | null} spacing  @param {Line[]} lines
      @param {((lines: Line[]) => void) | null} onChange */
  constructor(spacing, lines = [], onChange = null) {
    this.spacing = spacing;   // null where it is not known
    this.lines = lines;       // [x0, y0, x1, y1] in source pixels
    this.onChange = onChange;
  }

  /** Starts a line and returns it; it may be removed while it is being dragged.
      @param {Point} point */
  start(point) {
    /** @type {Line} */
    const line = [point.x, point.y, point.x, point.y];
    this.lines.push(line);
    return line;
  }

  /** @param {Line} line  @param {Point} point */
  stretch(line, point) {
    line[2] = point.x;
    line[3] = point.y;
  }

  /** A click without a drag leaves no ruler.
      @param {Line} line  @param {number} minimum */
  finish(line, minimum) {
    if (Math.hypot(line[2] - line[0], line[3] - line[1]) < minimum) this.remove(line);
    else this.onChange?.(this.lines);
  }

  /** @param {Line} line */
  remove(line) { this.lines = this.lines.filter((other) => other !== line); }

  removeLast() { this.lines.pop(); this.onChange?.(this.lines); }

  clear() {
    if (this.lines.length) this.onChange?.([]);
    this.lines = [];
  }

  /** @param {Line} line */
  text([x0, y0, x1, y1]) {
    if (!this.spacing) return `${Math.hypot(x1 - x0, y1 - y0).toFixed(0)} px`;
    const { row_mm: down, column_mm: across, source } = this.spacing;
    const length = Math.hypot((x1 - x0) * across, (y1 - y0) * down);
    return `${length.toFixed(1)} mm (${source})`;
  }

  /** Draws on the unscaled context through `toScreen`, so that the lettering stays upright.
      @param {CanvasRenderingContext2D} context  @param {(px: number, py: number) => Point} toScreen
      @param {number} ratio  @param {string} colourText */
  draw(context, toScreen, ratio, colourText) {
    context.save();
    context.font = `500 ${13 * ratio}px system-ui, sans-serif`;
    for (const line of this.lines) {
      const a = toScreen(line[0], line[1]);
      const b = toScreen(line[2], line[3]);
      const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
      const nx = -(b.y - a.y) / length * 6 * ratio;
      const ny = (b.x - a.x) / length * 6 * ratio;
      const path = new Path2D();
      path.moveTo(a.x, a.y); path.lineTo(b.x, b.y);
      for (const end of [a, b]) { path.moveTo(end.x - nx, end.y - ny); path.lineTo(end.x + nx, end.y + ny); }
      context.lineWidth = 4.5 * ratio; context.strokeStyle = "rgb(0 0 0 / 55%)"; context.stroke(path);
      context.lineWidth = 1.75 * ratio; context.strokeStyle = colourText; context.stroke(path);
      const at = b.x >= a.x ? b : a;
      const text = this.text(line);
      context.lineWidth = 4 * ratio; context.lineJoin = "round"; context.strokeStyle = "rgb(0 0 0 / 75%)";
      const width = context.measureText(text).width;
      const fits = at.x + 8 * ratio + width <= context.canvas.width;
      const left = fits ? at.x + 8 * ratio : at.x - 8 * ratio - width;
      context.strokeText(text, left, at.y + 4 * ratio);
      context.fillStyle = colourText;
      context.fillText(text, left, at.y + 4 * ratio);
    }
    context.restore();
  }
}
