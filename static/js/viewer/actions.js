// The viewer's actions by name, called by toolbar buttons ([data-action]) and by keys.

import { isTyping, keyOf } from "../base.js";
import { wireToolbar } from "./toolbar.js";
import { TOOLS } from "./tools.js";

const ZOOM = 1.25;

/** @typedef {import("./overlay.js").Mode} Mode */
/** @typedef {import("./overlay.js").Setting} Setting */
/** @typedef {Record<string, (event?: Event) => void | Promise<unknown>>} Actions  by their names */
/** @typedef {Record<string, string>} Keys  the names of actions by keys */

/** Name → function. `threshold` is the slider's controller, null without a probability map.
    @param {import("./viewer.js").Viewer} viewer  @param {import("./tools.js").Tools} tools
    @param {{ step(by: number): void, reset(): void } | null} threshold */
export function viewerActions(viewer, tools, threshold) {
  const { geometry, windowing, overlay } = viewer;
  const centre = () => tools.hover ?? { x: geometry.width / 2, y: geometry.height / 2 };
  /** @param {() => void} change */
  const moved = (change) => () => { change(); viewer.moved(); };
  /** @param {() => void} change */
  const windowChanged = (change) => () => { change(); viewer.windowChanged(); };
  /** @param {() => void} change */
  const layer = (change) => () => { change(); viewer.refreshLayer(); };
  /** @param {Mode} name */
  const mode = (name) => layer(() => { overlay.mode = name; overlay.shown = true; viewer.remember({ mode: name }); });
  /** @param {Setting} name */
  const setting = (name) => layer(() => {
    overlay.setting = name;
    overlay.shown = name === "on";
    viewer.remember({ overlay: name });
  });
  let lines = overlay.mode === "fill" ? "fill" : "outline"; // what the heat map gives way to
  /** @type {Actions} */
  const actions = {
    "fit": moved(() => geometry.fit()),
    "actual": moved(() => geometry.setScale(1 / viewer.ratio, centre().x, centre().y)),
    "zoom-in": moved(() => geometry.zoomAt(ZOOM, centre().x, centre().y)),
    "zoom-out": moved(() => geometry.zoomAt(1 / ZOOM, centre().x, centre().y)),
    "flip": moved(() => geometry.flip()),
    "turn-right": moved(() => geometry.rotate(1)),
    "turn-left": moved(() => geometry.rotate(-1)),
    "left": moved(() => geometry.pan(40, 0)),
    "right": moved(() => geometry.pan(-40, 0)),
    "up": moved(() => geometry.pan(0, 40)),
    "down": moved(() => geometry.pan(0, -40)),
    "invert": windowChanged(() => { windowing.invert(); viewer.remember({ inverted: windowing.inverted }); }),
    "narrower": windowChanged(() => windowing.drag(-16, 0)),
    "wider": windowChanged(() => windowing.drag(16, 0)),
    "brighter": windowChanged(() => windowing.drag(0, -16)),
    "darker": windowChanged(() => windowing.drag(0, 16)),
    "reset": () => {
      geometry.reset();
      windowing.reset();
      viewer.remember({ inverted: false, preset: windowing.presets[0].code });
      viewer.shutter.closed = viewer.shutter.polygons.length > 0;
      viewer.annotations.clearRulers();
      viewer.moved();
    },
    "remove-drawn": layer(() => viewer.annotations.removeLast()),
    "shutter": windowChanged(() => { viewer.shutter.closed = !viewer.shutter.closed && viewer.shutter.polygons.length > 0; }),
    "overlay": layer(() => { overlay.shown = !overlay.shown; }),
    "overlay-on": setting("on"),
    "overlay-key": setting("key"),
    "overlay-off": setting("off"),
    "heat": () => actions[`mode-${overlay.mode === "heat" ? lines : "heat"}`](),
    "outline": () => actions[overlay.mode === "outline" ? "mode-fill" : "mode-outline"](),
    "mode-fill": () => { lines = "fill"; mode("fill")(); },
    "mode-outline": () => { lines = "outline"; mode("outline")(); },
    "mode-heat": mode("heat"),
    "region": layer(() => { overlay.showsRegion = !overlay.showsRegion; overlay.shown = true; }),
    "fainter": layer(() => { overlay.opacity = Math.max(0.1, overlay.opacity - 0.1); }),
    "stronger": layer(() => { overlay.opacity = Math.min(1, overlay.opacity + 0.1); }),
    "threshold-down": () => threshold?.step(-1),
    "threshold-up": () => threshold?.step(1),
    "threshold-reset": () => threshold?.reset(),
    "full": () => toggleFull(/** @type {HTMLElement} */ (viewer.root.parentElement)),
  };
  for (const tool of TOOLS) actions[`tool-${tool}`] = () => tools.use(tool);
  windowing.presets.forEach((preset, i) => {
    actions[`preset-${i + 1}`] = windowChanged(() => {
      windowing.set(preset.centre, preset.width);
      viewer.remember({ preset: preset.code });
    });
  });
  return actions;
}

/** Keys of the viewer; the page adds its own. */
export const VIEWER_KEYS = {
  "w": "tool-window", "p": "tool-pan", "z": "tool-zoom", "t": "tool-ruler", "Shift+a": "tool-arrow", "m": "tool-loupe", "s": "tool-area",
  "i": "invert", "x": "flip", ">": "turn-right", "<": "turn-left", "j": "shutter", "8": "fit", "9": "actual", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out",
  "v": "reset", "f": "full", "h": "heat", "k": "outline", "g": "region", "Delete": "remove-drawn", "Backspace": "remove-drawn",
  "[": "threshold-down", "]": "threshold-up", "\\": "threshold-reset", ",": "fainter", ".": "stronger",
  "ArrowLeft": "left", "ArrowRight": "right", "ArrowUp": "up", "ArrowDown": "down",
  "Shift+ArrowLeft": "narrower", "Shift+ArrowRight": "wider", "Shift+ArrowUp": "brighter", "Shift+ArrowDown": "darker",
  "1": "preset-1", "2": "preset-2", "3": "preset-3", "4": "preset-4", "5": "preset-5", "6": "preset-6", "7": "preset-7",
};

let entering = Promise.resolve();

// Resolves once the browser has switched: it does so late, and leaving full screen moves the focus.
/** @param {HTMLElement} root */
function toggleFull(root) {
  const on = !document.body.classList.contains("full-screen");
  document.body.classList.toggle("full-screen", on);
  if (on) {
    entering = root.requestFullscreen?.().catch(() => {}) ?? Promise.resolve();
    return entering;
  }
  return entering.then(() => (document.fullscreenElement ? document.exitFullscreen() : null));
}

// With Shift, letters are other keys where the table has them; elsewhere they are the same.
/** @param {KeyboardEvent} event  @param {Keys} keys */
function nameOf(event, keys) {
  const key = keyOf(event);
  const shifted = `Shift+${key}`;
  return event.shiftKey && (key?.startsWith("Arrow") || keys[shifted]) ? shifted : key;
}

/** @param {EventTarget | null} target */
function isFilm(target) { return target instanceof Element && target.matches(".film-stage"); }

// Keys that repeat while held; a held A or N must not save or leave repeatedly.
const REPEATS = /^(Shift\+)?Arrow|^[-+=[\],.{}]$/;

/** Listens for keys of the whole page, once. Holding O hides the overlay while it is held;
    `holdSpace(true | false)` is called for the space bar over a film.
    @param {Actions} actions  @param {Keys} keys  @param {(held: boolean) => void} holdSpace */
export function wireKeys(actions, keys, holdSpace) {
  let heldSince = 0;
  document.addEventListener("keydown", (event) => {
    const name = nameOf(event, keys);
    if (!name || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (name === " " && (isFilm(event.target) || event.target === document.body)) {
      holdSpace(true);
      event.preventDefault();
      return;
    }
    if (event.repeat && !REPEATS.test(name)) return;
    if (event.target instanceof Element && event.target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    if (name === "Escape" && document.body.classList.contains("full-screen")) { actions.full(); return; }
    if (name === "o") {
      actions.overlay?.();
      heldSince = event.timeStamp;
      return;
    }
    const action = actions[keys[name]];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") holdSpace(false);
    if (event.key.toLowerCase() === "o" && heldSince) {
      if (event.timeStamp - heldSince > 350) actions.overlay?.();
      heldSince = 0;
    }
  });
  addEventListener("blur", () => { // the key is released in another window
    if (heldSince) actions.overlay?.();
    heldSince = 0;
    holdSpace(false);
  });
  document.addEventListener("fullscreenchange", () => {
    if (!document.fullscreenElement) document.body.classList.remove("full-screen");
  });
}

/** Buttons with data-action, also those that a live page adds later.
    @param {import("../base.js").Part} root  @param {Actions} actions  @param {Keys} keys */
export function wireButtons(root, actions, keys) {
  for (const button of root.querySelectorAll("[data-action]")) {
    const key = Object.keys(keys).find((name) => keys[name] === button.dataset.action);
    if (key) button.setAttribute("aria-keyshortcuts", key);
  }
  const bars = [...root.querySelectorAll("[role=toolbar]")];
  for (const bar of bars) wireToolbar(bar);
  root.addEventListener("click", (/** @type {MouseEvent & { target: any }} */ event) => {
    /** @type {HTMLElement | null} */
    const button = event.target.closest("[data-action]");
    if (!button) return;
    actions[button.dataset.action]?.(event);
    // After a click by pointer the arrow keys belong to the picture again, not to the toolbar.
    if (event.detail && button === document.activeElement && bars.some((bar) => bar.contains(button))) {
      root.querySelector(".film-stage").focus({ preventScroll: true });
    }
  });
}
