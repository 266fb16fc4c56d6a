// The state of the viewer on the page: readout line, pressed buttons, presets, legend.

import { paintLegend } from "./colormap.js";
import { TOOLS } from "./tools.js";
import { _ } from "../language.js";

export class Readout {
  #waits = false;
  #again = false;
  /** @type {Map<string, Element | null>} */
  #buttons = new Map();

  /** `isActive`: whether buttons show the state of this viewer, or of one beside.
      @param {import("./viewer.js").Viewer} viewer  @param {import("./tools.js").Tools} tools
      @param {() => boolean} isActive */
  constructor(viewer, tools, isActive = () => true) {
    this.isActive = isActive;
    this.viewer = viewer;
    this.tools = tools;
    this.root = viewer.root;
    this.legend = this.root.querySelector(".film-legend");
    this.presets = this.root.querySelector(".film-presets");
    paintLegend(this.legend.querySelector("canvas"));
    for (const source of [viewer, tools]) {
      source.addEventListener("change", () => this.#schedule());
      source.addEventListener("pixels", () => this.#schedule());
    }
    document.addEventListener("fullscreenchange", () => this.#schedule());
    this.#schedule();
  }

  /** Shows the state anew, also where nothing has changed: another pane is active. */
  refresh() { this.#schedule(); }

  // Once a frame, with the pixel's value, which the painter answers: one change of the page for both.
  async #schedule() {
    this.#again = true;
    if (this.#waits) return;
    this.#waits = true;
    await null; // what one move of the pointer changes is one change
    while (this.#again) {
      this.#again = false;
      const pixel = await this.#pixelText();
      await new Promise((go) => requestAnimationFrame(go));
      this.#show(pixel);
    }
    this.#waits = false;
  }

  /** @param {string} name  @param {string} text */
  #out(name, text) {
    const place = this.root.querySelector(`[data-out=${name}]`);
    if (place.textContent === text) return;
    // The same node with other characters: nothing but the line is laid out and painted again.
    if (text && place.firstChild) place.firstChild.nodeValue = text;
    else place.textContent = text;
  }

  /** @param {string} action  @param {boolean} on */
  #press(action, on) {
    let button = this.#buttons.get(action);
    if (!button?.isConnected) { // a live page replaces parts of its panel
      button = document.querySelector(`[data-action=${action}]`);
      this.#buttons.set(action, button);
    }
    if (button && button.getAttribute("aria-pressed") !== String(on)) button.setAttribute("aria-pressed", String(on));
  }

  /** @param {string} pixel */
  #show(pixel) {
    const { geometry, windowing, overlay, shutter, ratio } = this.viewer;
    this.#out("window", `W ${Math.round(windowing.width)} L ${Math.round(windowing.centre)}`);
    this.#out("zoom", `${Math.round(geometry.scale * ratio * 100)} %`);
    const off = overlay.setting === "off" && overlay.map;
    const flags = [windowing.inverted && _("inverted"), geometry.turn && _("turned %(degrees)s°", { degrees: geometry.turn * 90 }), geometry.flipped && _("mirrored"), shutter.closed && _("edges hidden"), off && _("AI overlay off")];
    this.#out("flags", flags.filter(Boolean).join(", "));
    this.#out("pixel", pixel);
    const isHeat = Boolean(overlay.map) && overlay.visible && overlay.mode === "heat";
    if (this.legend.hidden === isHeat) this.legend.hidden = !isHeat;
    if (!this.isActive()) return;
    for (const tool of TOOLS) this.#press(`tool-${tool}`, this.tools.current === tool);
    this.#press("invert", windowing.inverted);
    this.#press("flip", geometry.flipped);
    this.#press("shutter", !shutter.closed);
    this.#press("overlay", overlay.visible);
    this.#press("heat", overlay.visible && overlay.mode === "heat");
    for (const mode of ["fill", "outline", "heat"]) this.#press(`mode-${mode}`, overlay.mode === mode);
    for (const setting of ["on", "key", "off"]) this.#press(`overlay-${setting}`, overlay.setting === setting);
    this.#press("region", overlay.visible && overlay.showsRegion);
    const opacity = /** @type {HTMLInputElement | null} */ (document.getElementById("opacity-input"));
    if (opacity && opacity.value !== String(overlay.opacity)) opacity.value = String(overlay.opacity);
    this.#press("full", document.body.classList.contains("full-screen"));
  }

  async #pixelText() {
    // Not while a window is drawn: the eye is elsewhere, and each move would change the page once more.
    if (!this.tools.hover || this.root.dataset.dragging === "window") return "";
    const point = this.viewer.geometry.toPicture(this.tools.hover.x, this.tools.hover.y);
    const value = await this.viewer.valueAt(point).catch(/** @returns {null} */ () => null);
    return value === null ? "" : `x ${Math.floor(point.x)} y ${Math.floor(point.y)} = ${value}`;
  }

  /** @param {import("./actions.js").Actions} actions  @param {import("./windowing.js").Preset[]} presets */
  togglePresets(actions, presets = this.viewer.windowing.presets) {
    const anchor = this.root.querySelector("[data-action=presets]");
    if (!this.presets.hidden) { this.#closePresets(); return; }
    this.presets.replaceChildren(...presets.map((preset, i) => {
      const button = document.createElement("button");
      button.type = "button";
      const key = document.createElement("kbd");
      key.textContent = String(i + 1);
      button.append(preset.name, key);
      button.addEventListener("click", () => { actions[`preset-${i + 1}`](); this.#closePresets(); anchor.focus(); });
      return button;
    }));
    if (innerWidth > 760) this.presets.style.top = `${anchor.offsetTop + anchor.parentElement.offsetTop}px`;
    this.presets.hidden = false;
    anchor.setAttribute("aria-expanded", "true");
    this.presets.querySelector("button").focus();
    this.open = new AbortController();
    const until = { capture: true, signal: this.open.signal };
    document.addEventListener("pointerdown", (/** @type {{ target: any }} */ event) => {
      if (!this.presets.contains(event.target) && !anchor.contains(event.target)) this.#closePresets();
    }, until);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopImmediatePropagation(); this.#closePresets(); anchor.focus(); return; }
      if (event.key.startsWith("Arrow")) { // the menu's own keys, while it is open
        event.preventDefault();
        event.stopImmediatePropagation();
        /** @type {(Element & Partial<HTMLOrSVGElement>)[]} */
        const items = [...this.presets.children];
        const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
        items[(items.indexOf(document.activeElement) + by + items.length) % items.length].focus();
        return;
      }
      if (/^[a-z]$/i.test(event.key)) event.stopImmediatePropagation(); // no verdict by a key in a menu
    }, until);
  }

  #closePresets() {
    this.open?.abort();
    this.presets.hidden = true;
    this.root.querySelector("[data-action=presets]").setAttribute("aria-expanded", "false");
  }
}
