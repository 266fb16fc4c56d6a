// The magnifier: the picture under the pointer at 2.5 times its present size, with the overlay.

const SIZE = 220;    // CSS pixels, as in css/case.css
const FACTOR = 2.5;

export class Loupe {
  /** Where it is wanted on the film; null while it is hidden.
      @type {import("./geometry.js").Point | null} */
  #at = null;
  #stale = false;
  #draws = false;

  /** @param {import("./viewer.js").Viewer} viewer  @param {HTMLCanvasElement} canvas */
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
    viewer.addEventListener("change", () => { if (this.#at) this.show(this.#at.x, this.#at.y); });
  }

  /** Once the picture is there in full.
      @param {number} sx  @param {number} sy */
  async show(sx, sy) {
    this.#at = { x: sx, y: sy };
    this.#stale = true;
    if (this.#draws) return; // the place is newer than the one that is being drawn
    this.#draws = true;
    while (this.#at && this.#stale) {
      this.#stale = false;
      await this.#draw(this.#at).catch(() => {}); // it comes with the next move
    }
    this.#draws = false;
  }

  /** @param {import("./geometry.js").Point} at */
  async #draw({ x, y }) {
    const { canvas, viewer } = this;
    const { geometry, ratio, info } = viewer;
    const output = Math.round(SIZE * ratio);
    const scale = geometry.scale * FACTOR * ratio;
    const shown = geometry.toShown(geometry.toPicture(x, y));
    const left = output / 2 - shown.x * scale;
    const top = output / 2 - shown.y * scale;
    const matrix = geometry.transform(scale, left, top);
    const { turn, flipped } = geometry;
    const part = await viewer.picture.magnify({
      left, top, scale, turn, flipped, width: output, height: output, window: viewer.windowing.now,
    });
    if (!this.#at) return; // hidden meanwhile
    canvas.hidden = false;
    canvas.width = canvas.height = output;
    canvas.style.left = `${x - SIZE / 2}px`;
    canvas.style.top = `${y - SIZE / 2}px`;
    const context = canvas.getContext("2d", { alpha: false });
    if (part) context.putImageData(new ImageData(part.pixels, part.width, part.height), part.x, part.y);
    context.setTransform(...matrix);
    viewer.shutter.draw(context, info.columns, info.rows);
    viewer.overlay.draw(context, scale, ratio, viewer.aiColour, false);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  hide() {
    this.#at = null;
    this.canvas.hidden = true;
  }
}
