// The test pattern of the screen check, drawn in the screen's own pixels: any scaling would blur its lines.
// Squares of 5 % on 0 % and of 100 % on 95 % as in the AAPM's TG18-QC (OR-03, 2005); their corners are drawn by lot.

import { greys } from "./viewer/pattern.js";
import { _, numberText } from "./language.js";

const CORNERS = ["top_left", "top_right", "bottom_left", "bottom_right"];

/** @type {HTMLCanvasElement} */
const canvas = /** @type {any} */ (document.getElementById("screen-pattern"));
/** @type {HTMLFormElement} */
const form = /** @type {any} */ (document.getElementById("screen-form"));
const places = { dark: lot(), light: lot() };

function lot() { return crypto.getRandomValues(new Uint32Array(1))[0] % CORNERS.length; }

/** @param {string} name  @returns {HTMLInputElement} */
function field(name) { return /** @type {any} */ (form.elements.namedItem(name)); }

function draw() {
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(width * 0.8);
  canvas.width = width;
  canvas.height = height;
  canvas.style.height = `${height / ratio}px`;
  const context = canvas.getContext("2d", { alpha: false });
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const grey = greys(width, height, places.dark, places.light);
  for (let i = 0; i < grey.length; i += 1) pixels[i] = 0xff000000 | (grey[i] << 16) | (grey[i] << 8) | grey[i];
  context.putImageData(image, 0, 0);
  field("dark_at").value = CORNERS[places.dark];
  field("light_at").value = CORNERS[places.light];
  field("width").value = String(Math.round(screen.width * ratio));
  field("height").value = String(Math.round(screen.height * ratio));
  const size = { width: field("width").value, height: field("height").value, ratio: numberText(ratio) };
  document.getElementById("screen-size").textContent =
    Number.isInteger(ratio) ? _("%(width)s × %(height)s pixels", size) : _("%(width)s × %(height)s pixels, scaled by %(ratio)s: lines may look uneven", size);
}

new ResizeObserver(draw).observe(canvas.parentElement);
