// The magnifier: the picture under the pointer at 2.5 times its present size, with the overlay.

import { Sampler } from "./sampler.js";

const SIZE = 220;    // CSS pixels, as in css/case.css
const FACTOR = 2.5;

export class Loupe {
  /** @type {Sampler | null} */
  #sampler = null;

  /** @param {import("./viewer.js").Viewer} viewer  @param {HTMLCanvasElement} canvas */
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
  }

  /** Once the picture is there in full.
      @param {number} sx  @param {number} sy */
  show(sx, sy) {
    const { canvas, viewer } = this;
    const { geometry, ratio, info } = viewer;
    const output = Math.round(SIZE * ratio);
    canvas.hidden = false;
    canvas.width = canvas.height = output;
    canvas.style.left = `${sx - SIZE / 2}px`;
    canvas.style.top = `${sy - SIZE / 2}px`;
    this.#sampler ??= new Sampler(viewer.levels);
    const scale = geometry.scale * FACTOR * ratio;
    const shown = geometry.toShown(geometry.toPicture(sx, sy));
    const left = output / 2 - shown.x * scale;
    const top = output / 2 - shown.y * scale;
    this.#sampler.sample(left, top, scale, geometry, output, output);
    const context = canvas.getContext("2d", { alpha: false });
    const image = this.#sampler.grey(viewer.windowing.lookup());
    if (image) context.putImageData(image, this.#sampler.rect.x, this.#sampler.rect.y);
    context.setTransform(...geometry.transform(scale, left, top));
    viewer.shutter.draw(context, info.columns, info.rows);
    viewer.overlay.draw(context, scale, ratio, viewer.aiColour, false);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  hide() { this.canvas.hidden = true; }
}
