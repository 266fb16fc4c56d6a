// Window and level: the window that is chosen, and the presets of a picture. greys.js makes greys of it.

import { _ } from "../language.js";

/** @typedef {[centre: number, width: number, name: string]} HeaderWindow  name: "" for none */
/** @typedef {{ name: string, code: string, centre: number, width: number }} Preset */

// With Pleura's four there is a key (1 to 7) for each.
const MOST_FROM_HEADER = 3;

export class Windowing {
  /** @param {HeaderWindow[]} windows  @param {number} bits */
  constructor(windows, bits) {
    this.maximum = 2 ** bits - 1;
    const [centre, width] = windows[0] ?? [this.maximum / 2, this.maximum];
    this.first = { centre, width };
    this.centre = centre;
    this.width = width;
    this.inverted = false;
    this.presets = presets(windows, this.first, this.maximum);
  }

  /** @param {number} centre  @param {number} width */
  set(centre, width) {
    this.width = Math.min(4 * this.maximum + 4, Math.max(1, width));
    this.centre = Math.min(2 * this.maximum, Math.max(-this.maximum, centre));
  }

  /** A drag of dx, dy CSS pixels: right widens, up brightens; finer where the window is narrow.
      @param {number} dx  @param {number} dy */
  drag(dx, dy) {
    const rate = Math.max(this.width, this.maximum / 64) / 320;
    this.set(this.centre + dy * rate, this.width + dx * rate);
  }

  /** What greys are made of.
      @returns {import("./greys.js").GreyWindow} */
  get now() { return { centre: this.centre, width: this.width, inverted: this.inverted }; }

  invert() { this.inverted = !this.inverted; }

  reset() { this.inverted = false; this.set(this.first.centre, this.first.width); }

  /** The preset of this code, if the picture has it: another picture's header may have had more.
      @param {string} code */
  choose(code) {
    const preset = this.presets.find((one) => one.code === code);
    if (preset) this.set(preset.centre, preset.width);
  }
}

// `code` is what is remembered of a choice: a place in the header's list, or Pleura's own name.
/** @param {HeaderWindow[]} windows  @param {{ centre: number, width: number }} first
    @param {number} maximum  @returns {Preset[]} */
function presets(windows, first, maximum) {
  const named = windows.map(([centre, width, name], i) => ({
    name: name ? String(name).toLowerCase() : i === 0 ? _("as sent") : _("window %(number)s", { number: i + 1 }), code: `window-${i + 1}`, centre, width,
  }));
  if (named.length === 0) named.push({ name: _("full range"), code: "full", ...first });
  // Shares of the first window. The edge of a collapsed lung is a faint line in dark air: half the
  // width over the darker half. Bone is the brighter half, what lies behind the heart the middle.
  named.splice(MOST_FROM_HEADER);
  const { centre, width } = first;
  named.push({ name: _("lung"), code: "lung", centre: centre - width / 4, width: width / 2 });
  named.push({ name: _("soft tissue"), code: "soft", centre: centre + width / 16, width: width * 5 / 8 });
  named.push({ name: _("bone"), code: "bone", centre: centre + width / 4, width: width / 2 });
  named.push({ name: _("full range"), code: "full", centre: maximum / 2, width: maximum });
  return named.filter((p, i) => named.findIndex((q) => q.name === p.name) === i);
}
