// The greys of the test pattern, one byte for each pixel of the screen.

const STEPS = 18;
const PERCENT = 255 / 100;

/** Greys 0 to 255 of a pattern of width × height. `dark` and `light`: in which corner of its field (top left, top
    right, bottom left, bottom right) the square of little contrast lies.
    @param {number} width  @param {number} height  @param {number} dark  @param {number} light */
export function greys(width, height, dark, light) {
  const out = new Uint8Array(width * height).fill(Math.round(20 * PERCENT));
  /** @param {number} x  @param {number} y  @param {number} w  @param {number} h  @param {number} grey */
  const box = (x, y, w, h, grey) => {
    for (let j = Math.max(0, y); j < Math.min(height, y + h); j += 1) out.fill(grey, j * width + Math.max(0, x), j * width + Math.min(width, x + w));
  };
  const gap = Math.round(width / 40);
  const strip = Math.round(height * 0.2);
  for (let k = 0; k < STEPS; k += 1) {
    const [from, to] = [k, k + 1].map((at) => gap + Math.round(at * (width - 2 * gap) / STEPS));
    box(from, gap, to - from, strip, Math.round(k * 255 / (STEPS - 1)));
  }
  const side = Math.floor((width - 4 * gap) / 3);
  const top = strip + 2 * gap;
  const tall = Math.floor((height - top - 2 * gap) / 2);
  for (const [place, corner, [field, square]] of /** @type {const} */ ([[0, dark, [0, 5]], [1, light, [100, 95]]])) {
    const x = gap + place * (side + gap);
    box(x, top, side, tall, Math.round(field * PERCENT));
    const size = Math.round(Math.min(side, tall) / 5);
    const [left, down] = [corner % 2, corner >> 1];
    box(x + (left ? side - 2 * size : size), top + (down ? tall - 2 * size : size), size, size, Math.round(square * PERCENT));
  }
  linePairs(box, gap + 2 * (side + gap), top, side, tall);
  geometry(out, width, height, box, gap, top + tall + gap, width - 2 * gap, height - top - tall - 2 * gap);
  return out;
}

/** Lines of one, two and four pixels of the screen, across and down, with as much between them.
    @param {(x: number, y: number, w: number, h: number, grey: number) => void} box
    @param {number} x  @param {number} y  @param {number} width  @param {number} height */
function linePairs(box, x, y, width, height) {
  box(x, y, width, height, 0);
  const cell = Math.floor(Math.min(width / 3, height / 2));
  [1, 2, 4].forEach((line, k) => {
    const [left, size] = [x + k * cell + 4, cell - 8];
    for (let at = 0; at + line <= size; at += 2 * line) {
      box(left + at, y + 4, line, size, 255);
      box(left, y + cell + 4 + at, size, line, 255);
    }
  });
}

/** A grid of squares and a circle that touches its edges.
    @param {Uint8Array} out  @param {number} width  @param {number} height
    @param {(x: number, y: number, w: number, h: number, grey: number) => void} box
    @param {number} x  @param {number} y  @param {number} w  @param {number} h */
function geometry(out, width, height, box, x, y, w, h) {
  const cell = Math.max(4, Math.floor(h / 8));
  for (let at = 0; at <= w; at += cell) box(x + at, y, 1, h, 160);
  for (let at = 0; at <= h; at += cell) box(x, y + at, w, 1, 160);
  const radius = Math.floor(Math.min(w, h) / 2) - 1;
  const [middle, centre] = [x + Math.floor(w / 2), y + Math.floor(h / 2)];
  for (let k = 0; k < 16 * radius; k += 1) {
    const angle = k / (8 * radius) * Math.PI;
    const px = Math.round(middle + radius * Math.cos(angle));
    const py = Math.round(centre + radius * Math.sin(angle));
    if (px >= 0 && py >= 0 && px < width && py < height) out[py * width + px] = 255;
  }
}
