// Window and level: which densities become which grey. A window is a linear ramp, black at
// centre - width / 2 and white at centre + width / 2 (DICOM's LINEAR_EXACT), as on the server.

/** @typedef {[centre: number, width: number, name: string]} HeaderWindow  name: "" for none */
/** @typedef {{ name: string, code: string, centre: number, width: number }} Preset */

// With Pleura's four there is a key (1 to 7) for each.
const MOST_FROM_HEADER = 3;

export class Windowing {
  #stale = true;

  /** @param {HeaderWindow[]} windows  @param {number} bits */
  constructor(windows, bits) {
    this.maximum = 2 ** bits - 1;
    const [centre, width] = windows[0] ?? [this.maximum / 2, this.maximum];
    this.first = { centre, width };
    this.centre = centre;
    this.width = width;
    this.inverted = false;
    this.table = new Uint32Array(65536);
    this.presets = presets(windows, this.first, this.maximum);
  }

  /** @param {number} centre  @param {number} width */
  set(centre, width) {
    this.width = Math.min(4 * this.maximum + 4, Math.max(1, width));
    this.centre = Math.min(2 * this.maximum, Math.max(-this.maximum, centre));
    this.#stale = true;
  }

  /** A drag of dx, dy CSS pixels: right widens, up brightens; finer where the window is narrow.
      @param {number} dx  @param {number} dy */
  drag(dx, dy) {
    const rate = Math.max(this.width, this.maximum / 64) / 320;
    this.set(this.centre + dy * rate, this.width + dx * rate);
  }

  invert() { this.inverted = !this.inverted; this.#stale = true; }

  reset() { this.inverted = false; this.set(this.first.centre, this.first.width); }

  /** The preset of this code, if the picture has it: another picture's header may have had more.
      @param {string} code */
  choose(code) {
    const preset = this.presets.find((one) => one.code === code);
    if (preset) this.set(preset.centre, preset.width);
  }

  /** 65,536 opaque greys as 32-bit pixels, remade only after a change. */
  lookup() {
    if (!this.#stale) return this.table;
    const low = this.centre - this.width / 2;
    const factor = 255 / this.width;
    for (let value = 0; value < 65536; value += 1) {
      let grey = Math.round((value - low) * factor);
      grey = grey < 0 ? 0 : grey > 255 ? 255 : grey;
      if (this.inverted) grey = 255 - grey;
      this.table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    this.#stale = false;
    return this.table;
  }
}

// `code` is what is remembered of a choice: a place in the header's list, or Pleura's own name.
/** @param {HeaderWindow[]} windows  @param {{ centre: number, width: number }} first
    @param {number} maximum  @returns {Preset[]} */
function presets(windows, first, maximum) {
  const named = windows.map(([centre, width, name], i) => ({
    name: name ? String(name).toLowerCase() : i === 0 ? "as sent" : `window ${i + 1}`, code: `window-${i + 1}`, centre, width,
  }));
  if (named.length === 0) named.push({ name: "full range", code: "full", ...first });
  // Shares of the first window. The edge of a collapsed lung is a faint line in dark air: half the
  // width over the darker half. Bone is the brighter half, what lies behind the heart the middle.
  named.splice(MOST_FROM_HEADER);
  const { centre, width } = first;
  named.push({ name: "lung", code: "lung", centre: centre - width / 4, width: width / 2 });
  named.push({ name: "soft tissue", code: "soft", centre: centre + width / 16, width: width * 5 / 8 });
  named.push({ name: "bone", code: "bone", centre: centre + width / 4, width: width / 2 });
  named.push({ name: "full range", code: "full", centre: maximum / 2, width: maximum });
  return named.filter((p, i) => named.findIndex((q) => q.name === p.name) === i);
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
