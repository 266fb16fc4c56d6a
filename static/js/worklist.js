// The live worklist: results fade into their rows; new cases are announced and never move the rows.

import { getJson, poll, swap } from "./poll.js";
import { wireListKeys } from "./list_keys.js";

/** A case's present state: /worklist/state.
    @typedef {{
      settled: boolean, found: boolean, verdict: string, thumb: string | null, html: string,
    }} CaseState */

const list = document.getElementById("list");
const links = list ? [...list.querySelectorAll(".case-link")] : [];
const counts = document.getElementById("counts");
const notices = document.getElementById("notices");
const newCases = document.getElementById("new-cases");

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
  item.classList.toggle("found", row.found);
  item.dataset.settled = row.settled ? "yes" : "no";
  const reader = item.querySelector(".reader");
  if (row.verdict && reader.querySelector(".verdict")?.textContent !== row.verdict) {
    const verdict = document.createElement("span");
    verdict.className = "verdict fade-in";
    verdict.textContent = row.verdict;
    reader.replaceChildren(verdict);
  }
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

/** @param {number} all */
function announce(all) {
  const more = all - Number(newCases.dataset.known);
  newCases.hidden = more <= 0;
  newCases.querySelector("span").textContent = `${more.toLocaleString("en-US")} new case${more === 1 ? "" : "s"} – show`;
}

async function ask() {
  const pending = list ? [...list.querySelectorAll("[data-settled=no]")] : [];
  const shown = links.map((link) => link.parentElement.dataset.id);
  /** @type {{ rows: Record<string, CaseState>, counts: string, notices: string, all: number }} */
  const answer = await getJson(`${newCases.dataset.stateUrl}?ids=${shown.join(",")}`);
  for (const [id, row] of Object.entries(answer.rows)) update(id, row);
  replaceIfChanged(counts, answer.counts);
  replaceIfChanged(notices, answer.notices);
  announce(answer.all);
  return pending.length ? 2000 : 8000;
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
  r: () => /** @type {HTMLElement | null} */ (document.querySelector("#new-cases:not([hidden]) a"))?.click(),
});
wireFilters();
poll(ask, 1500, (failures) => {
  const place = document.getElementById("offline");
  const since = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (failures === 2) place.textContent = `The portal cannot be reached; this list is as of ${since}.`;
  place.hidden = failures < 2;
});
