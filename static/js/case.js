// The case page: brings viewer, threshold, review and live state together.

import { Again } from "./case/again.js";
import { Beside } from "./case/beside.js";
import { Critical, isBeingWritten } from "./case/critical.js";
import { OutlineOnPage } from "./case/outline.js";
import { Review } from "./case/review.js";
import { Signing } from "./case/sign.js";
import { copySentence } from "./case/sentence.js";
import { Threshold } from "./case/threshold.js";
import { getJson, poll, swap } from "./poll.js";
import { refreshTimes } from "./time.js";
import { VIEWER_KEYS, viewerActions, wireButtons, wireKeys } from "./viewer/actions.js";
import { Readout } from "./viewer/readout.js";
import { TOOLS, Tools } from "./viewer/tools.js";
import { Viewer } from "./viewer/viewer.js";
import { _ } from "./language.js";

const KEYS = {
  ...VIEWER_KEYS,
  "a": "agree", "y": "agree-next", "0": "finding-none", "r": "finding-right", "l": "finding-left", "b": "finding-both",
  "Shift+s": "sign", "Shift+n": "sign-next", "Shift+y": "agree-sign-next",
  "u": "finding-unsure", "d": "details", "c": "comment", "n": "next", "q": "worklist",
  "Shift+r": "report", "Shift+q": "ask-second",
  "e": "edit", "Shift+b": "edit-brush", "Shift+e": "edit-eraser", "Shift+p": "edit-polygon", "Shift+f": "edit-fill", "Shift+d": "edit-delete",
  "Shift+t": "edit-threshold", "{": "edit-smaller", "}": "edit-larger", "Shift+o": "reader-outline",
  "!": "critical", "Shift+w": "informed", "Shift+c": "sentence",
  "Shift+v": "beside", "Shift+g": "beside-next", "Shift+x": "pane", "Shift+l": "link-place", "Shift+k": "link-window",
};
const film = document.getElementById("film");
const panel = document.getElementById("panel");
const progress = document.getElementById("film-progress");
/** @type {import("./viewer/actions.js").Actions} */
const actions = {};
/** @type {import("./viewer/viewer.js").ViewerInfo} */
const info = JSON.parse(film.dataset.viewer);
/** @type {Viewer | null} */
let viewer = null;
/** @type {Tools | null} */
let tools = null;
/** @type {Threshold | null} */
let threshold = null;
/** @type {Review | null} */
let review = null;
/** @type {Signing | null} */
let signing = null;
/** @type {OutlineOnPage | null} */
let outline = null;
/** @type {Beside | null} */
let beside = null;
let besideAsSeen = false;
// What the server has sent of the parts that are fetched again, by their ids.
/** @type {Map<string, string>} */
const served = new Map();
for (const part of document.querySelectorAll("[data-live]")) served.set(part.id, part.innerHTML);
const failed = { pixels: false, overlay: false, overlayWaived: false };
const again = { pixels: new Again(loadPixels), overlay: new Again(startThreshold) };

// What a version of the review keeps, over the film until another one or the same is chosen.
document.getElementById("review-history")?.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-drawn]") : null;
  if (!(button instanceof HTMLElement) || !viewer) return;
  const isShown = button.getAttribute("aria-pressed") === "true";
  for (const other of document.querySelectorAll("[data-drawn]")) other.setAttribute("aria-pressed", String(other === button && !isShown));
  viewer.annotations.kept = isShown ? [] : info.reviewed[button.dataset.drawn] ?? [];
  viewer.refreshLayer();
});

/** @returns {import("./case/review.js").ReviewForm | null} */
function reviewForm() { return /** @type {any} */ (document.getElementById("review")); }

/** @param {HTMLFormElement} form  @param {string} name  @returns {HTMLInputElement} */
function field(form, name) { return /** @type {any} */ (form.elements.namedItem(name)); }

/** The viewer of this page, once the picture is there. Its `state()` and `restore(state)` keep a view and draw it again. */
export function viewerOfPage() { return viewer; }

actions.report = () => document.getElementById("report-make")?.click();

function wireReview() {
  const form = reviewForm();
  for (const [name, id] of [["next", "next-case"], ["worklist", "to-list"]]) {
    const link = /** @type {HTMLAnchorElement | null} */ (document.getElementById(id));
    if (!link) continue; // no next case under emergency access
    actions[name] = async () => {
      await outline?.editor.settled;
      if (outline && !(await outline.editor.mayLeave())) return;
      if (viewer && !(await viewer.draft.mayLeave())) {
        review?.say(_("Rulers or arrows are not stored. They are still here; leave again to discard them."));
        return;
      }
      if (!review || await review.mayLeave()) location.assign(link.href);
    };
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens another tab: this page stays
      event.preventDefault();
      actions[name]();
    });
  }
  if (!form) return;
  const isDrawnStored = async () => !viewer || await viewer.draft.settled();
  review = new Review(form, refresh, isDrawnStored, ({ is_new: isNew, review: id, drawn }) => {
    if (isNew && drawn.length) info.reviewed[id] = drawn;
  });
  const critical = new Critical(
    () => ["right", "left", "both"].includes(review.known.stated.finding),
    (act) => review.afterSaves(act),
    () => signing?.isSigning ? _("The case is being signed. Choose once more whether the finding is critical when that has ended.") : "",
  );
  form.addEventListener("review-saved", (event) => critical.show(/** @type {CustomEvent} */ (event).detail));
  Object.assign(actions, critical.actions, { sentence: copySentence });
  // A finding is stated with the panel in view, and only once the case can be read.
  /** @param {() => void | Promise<unknown>} act */
  const withPanel = (act) => async () => {
    await outline?.editor.settled; // an outline that is being stored belongs to the finding
    await isDrawnStored(); // and so does what was drawn
    if (document.body.classList.contains("full-screen")) await actions.full();
    if (form.querySelector("fieldset").disabled) review.say(_("The picture is being prepared: there is nothing to state or to sign yet."));
    else await act();
  };
  actions.agree = withPanel(() => review.agree());
  actions["agree-next"] = withPanel(async () => { if (await review.agree()) await actions.next(); });
  for (const finding of ["none", "right", "left", "both", "unsure"]) {
    actions[`finding-${finding}`] = withPanel(() => review.choose(finding));
  }
  signing = new Signing(document.getElementById("sign"), review, {
    view: () => viewer && { pictures: [viewer.state(), beside?.state()].filter(Boolean) },
    seeAgain: refresh,
    isDrawnStored,
  });
  actions.sign = withPanel(() => signing.sign());
  actions["sign-next"] = withPanel(async () => { if (await signing.sign()) await actions.next(); });
  actions["agree-sign-next"] = withPanel(async () => { if (await signing.sign(true)) await actions.next(); });
  actions["ask-second"] = async () => {
    const ask = /** @type {HTMLFormElement | null} */ (document.getElementById("ask-second"));
    if (ask && !ask.closest("section").hidden && await review.mayLeave()) ask.requestSubmit();
  };
  actions.comment = withPanel(() => field(form, "comment").focus());
  actions.details = withPanel(() => (field(form, "size").disabled ? review.reason : field(form, "size")).focus());
  addEventListener("beforeunload", (event) => { if (review.isOpen || signing.isOpen || viewer?.draft.isOpen) event.preventDefault(); });
}

/** Why no finding can be saved yet, "" where nothing is in the way. */
function hindrance() {
  if (outline?.editor.isOpen) return _("Finish the outline first: E stores it.");
  if (!info.pixels) return info.final ? "" : _("The picture is being prepared.");
  if (failed.pixels) return _("The full picture has not been loaded, so no finding can be saved.");
  if (film.dataset.depth !== "full") return _("The picture is being loaded.");
  if (!Threshold.wanted(info, panel) || failed.overlayWaived) return "";
  if (failed.overlay) return _("The AI outline has not been loaded. Try again, or read without it.");
  return film.dataset.overlay === "ready" ? "" : _("The AI outline is being drawn.");
}

function judge() { review?.hinder(hindrance()); }

function showPreview() {
  if (!info.preview || film.querySelector(".film-preview")) return;
  const image = document.createElement("img");
  image.className = "film-preview fade-in";
  image.alt = _("Chest X-ray");
  image.src = info.preview;
  film.querySelector(".film-picture").after(image);
}

function startViewer() {
  if (viewer || !info.rows) return;
  showPreview();
  /** @type {HTMLElement} */ (film.querySelector(".film-tools")).inert = false;
  viewer = new Viewer(film, info);
  tools = new Tools(viewer);
  const readout = new Readout(viewer, tools, () => !beside || beside.active.viewer === viewer);
  const own = viewerActions(viewer, tools, { step: (by) => threshold?.step(by), reset: () => threshold?.reset() });
  Object.assign(actions, own);
  actions.presets = () => readout.togglePresets(actions, (beside?.active.viewer ?? viewer).windowing.presets);
  outline = new OutlineOnPage(viewer, tools, {
    threshold: () => threshold?.value ?? null,
    changed: judge,
    fetched: (page) => {
      /** @type {HTMLElement | null} */
      const form = page.querySelector("#review");
      if (form) review?.know(JSON.parse(form.dataset.known));
    },
    trouble: (text, choices) => trouble("outline", text, choices),
  });
  Object.assign(own, outline.actions);
  Object.assign(actions, own);
  beside = new Beside({ viewer, tools, readout, actions: own }, {
    activate: (pane) => give(pane, own),
    wire: (root) => wireButtons(root, actions, KEYS),
    trouble: (text, choices) => trouble("beside", text, choices),
  });
  Object.assign(actions, beside.actions);
  viewer.addEventListener("annotated", () => review?.drew());
  viewer.addEventListener("drawn-elsewhere", () => {
    review?.drew();
    trouble("drawn", _("Rulers or arrows were changed in another window. What was drawn in both is shown here now."), { [_("Close")]: () => {} });
  });
  viewer.addEventListener("drawn-refused", (event) => trouble("drawn", /** @type {CustomEvent} */ (event).detail));
  viewer.addEventListener("lost", loadPixels);
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

// Keys and buttons act on the active pane. A tool is chosen for both; what the pane beside lacks is the main one's,
// as the editor; the window presets are each picture's own.
/** @param {import("./case/beside.js").Pane} pane  @param {import("./viewer/actions.js").Actions} own */
function give(pane, own) {
  for (const name of Object.keys(actions)) if (/^preset-\d/.test(name)) delete actions[name];
  Object.assign(actions, own, pane.actions);
  for (const tool of TOOLS) {
    actions[`tool-${tool}`] = () => { tools.use(tool); beside?.pane?.tools.use(tool); };
  }
}

/** @param {number} share */
function bar(share) {
  progress.style.transform = `scaleX(${share})`;
  progress.classList.toggle("done", share >= 1);
}

async function loadPixels() {
  again.pixels.stop();
  failed.pixels = false;
  judge();
  try {
    await viewer.loadPixels(info.pixels, bar);
    trouble("pixels", "");
  } catch {
    failed.pixels = true;
    again.pixels.later();
    trouble("pixels", _("The full picture could not be loaded; this is the preview."), { [_("Try again")]: loadPixels });
  }
  bar(1);
  showAsSeen();
  judge();
}

// A page that shows a case as it was signed: the view of then, once what it is made of is there.
function showAsSeen() {
  if (!info.seen) return;
  const { beside: other, ...own } = info.seen;
  viewer.restore(own);
  if (other && !besideAsSeen) beside.restore(other);
  besideAsSeen = true;
}

async function startThreshold() {
  if (threshold || !viewer || !Threshold.wanted(info, panel)) return;
  const own = new Threshold(viewer, info, panel);
  threshold = viewer.threshold = own;
  again.overlay.stop();
  failed.overlay = false;
  judge();
  try {
    const map = await viewer.loadProbability(info.map.url, info.map.rows, info.map.columns);
    viewer.overlay.region = info.region;
    viewer.overlay.setOthers(info.otherOutlines);
    // Where nothing is outlined, the region behind the probability is shown at once.
    viewer.overlay.showsRegion = Boolean(info.region) && !info.measuredPixels;
    own.reset();
    own.count(map);
    await frame(); // the outline is cut in the first one and drawn in the second
    await frame();
    showAsSeen();
    film.dataset.overlay = "ready";
    trouble("layer", "");
  } catch {
    if (threshold !== own) return; // a later one has taken its place, with the panel
    threshold = viewer.threshold = null;
    failed.overlay = true;
    again.overlay.later();
    trouble("layer", _("The AI overlay could not be loaded."), {
      [_("Try again")]: startThreshold,
      ...(review && { [_("Read without it")]: () => { failed.overlayWaived = true; again.overlay.stop(); judge(); } }),
    });
  }
  judge();
}

function frame() { return new Promise((done) => requestAnimationFrame(done)); }

// One line for each part that is missing, in the corner of the film, until it has loaded.
/** @param {string} cause  @param {string} text
    @param {Record<string, () => void>} choices  what its buttons do, by their texts */
function trouble(cause, text, choices = {}) {
  const place = document.getElementById("film-trouble");
  place.querySelector(`[data-cause=${cause}]`)?.remove();
  if (!text) return;
  const line = document.createElement("p");
  line.dataset.cause = cause;
  line.textContent = `${text} `;
  for (const [name, act] of Object.entries(choices)) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn small";
    button.textContent = name;
    button.addEventListener("click", () => { line.remove(); act(); });
    line.append(button, " ");
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
    const signature = `${state.seen}/${state.waiting_for ?? ""}`;
    if (signature !== known) {
      await refresh();
      known = signature;
    }
    return info.final ? null : 1500;
  }, 800, (failures) => trouble("offline", failures > 1 ? _("The portal cannot be reached; the result will appear later.") : ""));
}

async function refresh() {
  const response = await fetch(location.href, { cache: "no-store" });
  if (!response.ok) throw new Error("the page could not be fetched again");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const fresh of page.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    const html = fresh.innerHTML;
    if (!old || isBeingWritten(old) || served.get(fresh.id) === html) continue; // scripts have changed it since, as the slider
    served.set(fresh.id, html);
    if (swap(old, fresh) && fresh.id === "ai-panel" && viewer) threshold = viewer.threshold = null; // another slider
  }
  refreshTimes(document);
  const text = page.getElementById("film").dataset.viewer;
  const started = Boolean(viewer);
  Object.assign(info, JSON.parse(text));
  const form = reviewForm();
  const fresh = /** @type {HTMLFormElement | null} */ (page.getElementById("review"));
  if (form && fresh) {
    form.querySelector("fieldset").disabled = fresh.querySelector("fieldset").disabled;
    review.know(JSON.parse(fresh.dataset.known));
  }
  if (!started) startViewer();
  // The found lungs may have shown that the header's spacing can't be right.
  if (viewer) viewer.annotations.spacing = info.spacing;
  startThreshold();
  judge();
}

bar(0);
wireReview();
startViewer();
startThreshold();
judge();
wireKeys(actions, KEYS, (held) => { for (const one of [tools, beside?.pane?.tools]) if (one) one.space = held; });
live();
