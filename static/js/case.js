// The case page: brings viewer, threshold, review and live state together.

import { Review } from "./case/review.js";
import { Threshold } from "./case/threshold.js";
import { getJson, poll, swap } from "./poll.js";
import { refreshTimes } from "./time.js";
import { VIEWER_KEYS, viewerActions, wireButtons, wireKeys } from "./viewer/actions.js";
import { Readout } from "./viewer/readout.js";
import { Tools } from "./viewer/tools.js";
import { Viewer } from "./viewer/viewer.js";

const KEYS = { ...VIEWER_KEYS, "a": "agree", "d": "disagree", "u": "unsure", "c": "comment", "n": "next" };
const film = document.getElementById("film");
const panel = document.getElementById("panel");
const progress = document.getElementById("film-progress");
const actions = {};
const info = JSON.parse(film.dataset.viewer);
let viewer = null;
let tools = null;
let threshold = null;

/** @returns {HTMLFormElement | null} */
function reviewForm() { return /** @type {any} */ (document.getElementById("review")); }

/** @param {HTMLFormElement} form  @returns {HTMLInputElement} */
function field(form, name) { return /** @type {any} */ (form.elements.namedItem(name)); }

function wireReview() {
  const form = reviewForm();
  const next = /** @type {HTMLAnchorElement | null} */ (document.getElementById("next-case"));
  if (next) actions.next = () => location.assign(next.href); // no next case under emergency access
  if (!form) return;
  const review = new Review(form);
  actions.next = async () => { if (await review.mayLeave()) location.assign(next.href); };
  next.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens another tab: this page stays
    event.preventDefault();
    actions.next();
  });
  // A verdict is given with the panel in view, and only once the case can be read.
  const withPanel = (act) => async () => {
    if (document.body.classList.contains("full-screen")) await actions.full();
    if (!form.querySelector("fieldset").disabled) act();
  };
  for (const verdict of ["agree", "disagree", "unsure"]) actions[verdict] = withPanel(() => review.choose(verdict));
  actions.comment = withPanel(() => field(form, "comment").focus());
  addEventListener("beforeunload", (event) => { if (review.isOpen) event.preventDefault(); });
}

function showPreview() {
  if (!info.preview || film.querySelector(".film-preview")) return;
  const image = document.createElement("img");
  image.className = "film-preview fade-in";
  image.alt = "Chest X-ray";
  image.src = info.preview;
  film.querySelector(".film-stage").prepend(image);
}

function startViewer() {
  if (viewer || !info.rows) return;
  showPreview();
  /** @type {HTMLElement} */ (film.querySelector(".film-tools")).inert = false;
  viewer = new Viewer(film, info);
  tools = new Tools(viewer);
  const readout = new Readout(viewer, tools);
  Object.assign(actions, viewerActions(viewer, tools, { step: (by) => threshold?.step(by), reset: () => threshold?.reset() }));
  actions.presets = () => readout.togglePresets(actions);
  wireButtons(film, actions, KEYS);
  wireButtons(panel, actions, KEYS);
  panel.addEventListener("input", (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    if (input.id !== "opacity-input") return;
    viewer.overlay.opacity = Number(input.value);
    viewer.refreshLayer();
  });
  viewer.overlay.showsLevels = Boolean(panel.querySelector("#sizes[open]"));
  // The levels are drawn while their distances can be read; `toggle` does not bubble.
  panel.addEventListener("toggle", (event) => {
    const sizes = /** @type {HTMLDetailsElement} */ (event.target);
    if (sizes.id !== "sizes") return;
    viewer.overlay.showsLevels = sizes.open;
    viewer.refreshLayer();
  }, true);
  loadPixels();
}

function bar(share) {
  progress.style.transform = `scaleX(${share})`;
  progress.classList.toggle("done", share >= 1);
}

async function loadPixels() {
  try {
    await viewer.loadPixels(info.pixels, bar);
    bar(1);
  } catch {
    bar(1);
    trouble("pixels", "The full picture could not be loaded; this is the preview.", loadPixels);
  }
}

async function startThreshold() {
  if (threshold || !viewer || !Threshold.wanted(info, panel)) return;
  const own = new Threshold(viewer, info, panel);
  threshold = own;
  try {
    const map = await viewer.loadProbability(info.map.url, info.map.rows, info.map.columns);
    viewer.overlay.region = info.region;
    // Where nothing is outlined, the region behind the probability is shown at once.
    viewer.overlay.showsRegion = Boolean(info.region) && !info.measuredPixels;
    own.reset();
    own.count(map);
    film.dataset.overlay = "ready";
  } catch {
    threshold = null;
    trouble("layer", "The AI overlay could not be loaded.", startThreshold);
  }
}

// One line for each part that is missing, in the corner of the film, until it has loaded.
function trouble(cause, text, retry = null) {
  const place = document.getElementById("film-trouble");
  place.querySelector(`[data-cause=${cause}]`)?.remove();
  if (!text) return;
  const line = document.createElement("p");
  line.dataset.cause = cause;
  line.textContent = `${text} `;
  if (retry) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn small";
    button.textContent = "Try again";
    button.addEventListener("click", () => { line.remove(); retry(); });
    line.append(button);
  }
  place.append(line);
}

// A case that is not finished updates itself: the page is fetched again when the state changes,
// and only the parts that differ are replaced.
function live() {
  let known = info.signature;
  if (info.final) return;
  poll(async () => {
    const state = await getJson(info.stateUrl);
    const signature = `${state.state}/${state.waiting_for ?? ""}`;
    if (signature !== known) {
      await refresh();
      known = signature;
    }
    return info.final ? null : 1500;
  }, 800, (failures) => trouble("offline", failures > 1 ? "The portal cannot be reached; the result will appear later." : ""));
}

async function refresh() {
  const response = await fetch(location.href, { cache: "no-store" });
  if (!response.ok) throw new Error("the page could not be fetched again");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const fresh of page.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    if (old) swap(old, fresh);
  }
  refreshTimes(document);
  const text = page.getElementById("film").dataset.viewer;
  const started = Boolean(viewer);
  Object.assign(info, JSON.parse(text));
  const form = reviewForm();
  if (form) {
    form.querySelector("fieldset").disabled = !info.readable;
    field(form, "seen").value = info.seen;
  }
  if (!started) startViewer();
  startThreshold();
}

bar(0);
wireReview();
startViewer();
startThreshold();
wireKeys(actions, KEYS, film.querySelector(".film-stage"), (held) => { if (tools) tools.space = held; });
live();
