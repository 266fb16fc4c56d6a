// The live worklist: results fade into their rows; new cases are announced and never move the rows.

import { getJson, poll, swap } from "./poll.js";
import { wireListKeys } from "./list_keys.js";
import { encloseUpdates, refreshTimes } from "./time.js";
import { _, language, ngettext } from "./language.js";

/** What has changed: /worklist/state, and an event of /worklist/events.
    @typedef {{ rows: Record<string, CaseState>, counts: string, notices?: string, critical?: string, arrived: number,
      positive: number | null }} Changes */

/** A case's present state: /worklist/state.
    @typedef {{
      settled: boolean, found: boolean, thumb: string | null, html: string,
    }} CaseState */

const list = document.getElementById("list");
const links = list ? [...list.querySelectorAll(".case-link")] : [];
const shown = links.map((link) => link.parentElement.dataset.id);
let isStreaming = false;
const counts = document.getElementById("counts");
const notices = document.getElementById("notices");
const critical = document.getElementById("critical");
const newCases = document.getElementById("new-cases");

const morePositive = document.getElementById("more-positive");
let positive = Number(morePositive.dataset.positive ?? 0); // to be read, as of the last look
let risen = 0; // by how many it has risen since the page was made, and how many of them are rows of this page
let onPage = 0;

/** @param {string} html */
function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** @param {string} id  @param {CaseState} row */
function update(id, row) {
  const item = document.getElementById(`case-${id}`);
  if (!item) return;
  if (row.found && !item.classList.contains("found")) onPage += 1;
  item.classList.toggle("found", row.found);
  item.dataset.settled = row.settled ? "yes" : "no";
  /** @type {NodeListOf<HTMLElement>} */
  const parts = fragment(row.html).querySelectorAll("[data-part]");
  for (const fresh of parts) {
    const old = item.querySelector(`[data-part=${fresh.dataset.part}]`);
    if (old) swap(old, fresh);
  }
  if (row.thumb && item.dataset.thumb === "no") {
    const image = new Image(44, 44);
    image.alt = "";
    image.className = "fade-in";
    image.src = row.thumb;
    item.querySelector(".thumb").append(image);
    item.dataset.thumb = "yes";
  }
}

/** @param {HTMLElement} place  @param {string} html */
function replaceIfChanged(place, html) {
  const holder = document.createElement(place.tagName);
  holder.append(fragment(html));
  if (place.textContent !== holder.textContent) place.replaceChildren(...holder.childNodes);
}

/** @param {number} more  new cases since the page was made */
function announce(more) {
  newCases.hidden = more <= 0;
  newCases.querySelector("span").textContent = ngettext("%(num)s new case – show", "%(num)s new cases – show", more);
}

// Exams off the page of which the AI has found something since it was made: they do not move the rows.
/** @param {number | null} now  how many are to be read; null for who may not see it */
function announcePositive(now) {
  if (now === null) return;
  risen += Math.max(0, now - positive);
  positive = now;
  const more = Math.min(risen - onPage, positive);
  if (more <= 0) { morePositive.replaceChildren(); return; }
  const link = morePositive.querySelector("a") ?? document.createElement("a");
  const text = ngettext("%(num)s more AI positive – show", "%(num)s more AI positive – show", more);
  if (link.textContent === text) return;
  link.className = "btn wide";
  link.href = morePositive.dataset.show;
  link.textContent = text;
  if (!link.isConnected) morePositive.append(link);
}

/** @param {() => void} change  during which the row under the pointer or with the focus stays where it is */
function inPlace(change) {
  const row = list?.querySelector(".case:hover") ?? list?.querySelector(".case:focus-within");
  const before = row?.getBoundingClientRect().top;
  change();
  if (!row) return;
  const moved = () => row.getBoundingClientRect().top - before;
  if (moved() > 0) document.body.style.minHeight = `${innerHeight + scrollY + moved()}px`; // a short list can't be scrolled
  scrollBy({ top: moved(), behavior: "instant" });
  // Above a list at its beginning there is nothing to scroll to: the gap stays until the pointer has left.
  // Margins collapse, so what it comes to is looked at once more.
  for (let i = 0; i < 2 && moved() < 0; i += 1) {
    list.style.marginTop = `${parseFloat(getComputedStyle(list).marginTop) - moved()}px`;
  }
}

encloseUpdates(inPlace);
list?.addEventListener("pointerleave", () => { list.style.marginTop = ""; });

// The ages in it go on by themselves: only another list of findings is shown anew.
/** @param {string} html */
function showCritical(html) {
  const holder = document.createElement("div");
  holder.append(fragment(html));
  /** @param {Element} place */
  const parts = (place) => [...place.querySelectorAll("a, strong, bdi")].map((part) => part.textContent).join("|");
  if (parts(critical) === parts(holder)) return;
  critical.replaceChildren(...holder.childNodes);
  refreshTimes(critical);
}

/** @param {Changes} changes */
function show(changes) {
  inPlace(() => {
    for (const [id, row] of Object.entries(changes.rows)) update(id, row);
    if (changes.notices !== undefined) replaceIfChanged(notices, changes.notices);
    if (changes.critical !== undefined) showCritical(changes.critical);
    replaceIfChanged(counts, changes.counts);
  });
  announce(changes.arrived);
  announcePositive(changes.positive);
}

async function ask() {
  const pending = list ? [...list.querySelectorAll("[data-settled=no]")] : [];
  show(await getJson(`${newCases.dataset.stateUrl}&ids=${shown.join(",")}`));
  if (isStreaming) return 60_000;
  return pending.length ? 2000 : 8000;
}

// What changes is sent by the portal while the tab is visible. Without the stream the page asks.
/** @type {EventSource | null} */
let stream = null;

function listen() {
  if (!newCases.dataset.streamUrl || document.hidden || isSignedOut()) return;
  stream?.close();
  stream = new EventSource(`${newCases.dataset.streamUrl}&ids=${shown.join(",")}`);
  stream.onopen = () => { isStreaming = true; polling.now(); };
  stream.onmessage = (event) => show(JSON.parse(event.data));
  stream.addEventListener("ended", () => { stopListening(); polling.now(); }); // polling asks for the sign-in
  stream.onerror = () => {
    if (isStreaming) { isStreaming = false; polling.now(); } // shows it where the session has ended
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 30_000);
  };
}

function isSignedOut() { return document.documentElement.classList.contains("signed-out"); }

function stopListening() {
  stream?.close();
  isStreaming = false;
}

function wireFilters() {
  const form = /** @type {HTMLFormElement} */ (document.getElementById("filters"));
  // A choice by pointer filters at once; by keyboard it waits for Enter or the button, because
  // arrows change a closed list at every step.
  let byPointer = false;
  form.addEventListener("pointerdown", () => { byPointer = true; });
  form.addEventListener("keydown", (event) => {
    byPointer = false;
    if (event.key === "Enter" && event.target instanceof HTMLSelectElement) { event.preventDefault(); form.requestSubmit(); }
  });
  for (const field of form.querySelectorAll("select")) {
    field.addEventListener("change", () => { if (byPointer) form.requestSubmit(); });
  }
}

wireListKeys({
  "/": () => { const q = /** @type {HTMLInputElement} */ (document.getElementById("q")); q.focus(); q.select(); },
  f: () => document.getElementById("f-state").focus(),
  x: () => document.getElementById("filter-clear")?.click(),
  r: () => /** @type {HTMLElement | null} */ (document.querySelector("#more-positive a, #new-cases:not([hidden]) a"))?.click(),
});
wireFilters();
const polling = poll(ask, 1500, (failures) => {
  const place = document.getElementById("offline");
  const since = new Date().toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
  if (failures === 2) place.textContent = _("The portal cannot be reached; this list is as of %(time)s.", { time: since });
  place.hidden = failures < 2;
});
listen();
document.addEventListener("visibilitychange", () => { if (document.hidden) stopListening(); else listen(); });
document.addEventListener("session-back", listen);
addEventListener("pagehide", stopListening);
addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
