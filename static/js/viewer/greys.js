// Which densities become which grey: a table of all 65,536, remade only for another window. A window is a linear ramp,
// black at centre - width / 2 and white at centre + width / 2 (DICOM's LINEAR_EXACT), as on the server. And the window
// that fits a part of the picture.

/** @typedef {{ centre: number, width: number, inverted: boolean }} GreyWindow */

export class Greys {
  /** @type {GreyWindow | null} */
  #window = null;

  constructor() { this.table = new Uint32Array(65536); }

  /** Opaque greys as 32-bit pixels, by density.
      @param {GreyWindow} window */
  lookup({ centre, width, inverted }) {
    const known = this.#window;
    if (known && known.centre === centre && known.width === width && known.inverted === inverted) return this.table;
    const low = centre - width / 2;
    const factor = 255 / width;
    for (let value = 0; value < 65536; value += 1) {
      let grey = Math.round((value - low) * factor);
      grey = grey < 0 ? 0 : grey > 255 ? 255 : grey;
      if (inverted) grey = 255 - grey;
      this.table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    this.#window = { centre, width, inverted };
    return this.table;
  }
}

/** The window from the 1st to the 99th percentile of a box of the picture; null for fewer than 16 pixels.
    @param {import("./pyramid.js").Level} level  the full one
    @param {import("./geometry.js").Line} box */
export function windowOf({ data, columns, rows }, [x0, y0, x1, y1]) {
  const left = Math.max(0, Math.floor(x0));
  const right = Math.min(columns, Math.ceil(x1));
  const top = Math.max(0, Math.floor(y0));
  const bottom = Math.min(rows, Math.ceil(y1));
  const total = Math.max(0, right - left) * Math.max(0, bottom - top);
  if (total < 16) return null;
  const counts = new Uint32Array(65536);
  for (let y = top; y < bottom; y += 1) {
    for (let i = y * columns + left, end = y * columns + right; i < end; i += 1) counts[data[i]] += 1;
  }
  const low = percentile(counts, total * 0.01);
  const high = percentile(counts, total * 0.99);
  return { centre: (low + high) / 2, width: Math.max(1, high - low) };
}

/** The value that so many pixels do not exceed.
    @param {Uint32Array} counts  @param {number} wanted */
function percentile(counts, wanted) {
  let seen = counts[0];
  let value = 0;
  while (seen < wanted) seen += counts[value += 1];
  return value;
}
