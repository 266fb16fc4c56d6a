// While a case is open, colleagues see who reads it: the mark is renewed as long as the page is there.
// The answer states how many critical findings this person is asked to see to.

import { csrfToken } from "./base.js";
import { language, ngettext } from "./language.js";

/** Who reads the case: /studies/ID/claim.
    @typedef {{ mine: boolean, reader: string, since: string, again_ms: number,
      asked: number, asked_case: string }} Claim */

const place = document.getElementById("claim");
const asked = document.getElementById("asked");
const AGAIN = 20_000;
let timer = 0;
let isMine = true; // as far as is known: who comes by Next has it before the first answer

/** @param {string} url */
function post(url) {
  const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json" };
  return fetch(url, { method: "POST", headers, keepalive: true }).catch(/** @returns {null} */ () => null);
}

/** @param {Claim} claim */
function show(claim) {
  isMine = claim.mine;
  const name = place.querySelector("bdi");
  const since = new Date(claim.since).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
  if (!claim.mine && (place.hidden || name.textContent !== claim.reader)) {
    name.textContent = claim.reader;
    place.querySelector("span").textContent = since;
  }
  place.hidden = claim.mine;
}

/** @param {Claim} claim */
function showAsked(claim) {
  const text = claim.asked
    ? ngettext("%(num)s critical finding: you are asked", "%(num)s critical findings: you are asked", claim.asked) : "";
  const link = asked.querySelector("a");
  if (asked.textContent === text && (link?.getAttribute("href") ?? "") === claim.asked_case) return;
  if (!text) { asked.replaceChildren(); return; }
  const fresh = link ?? document.createElement("a"); // the same one, so that the focus stays on it
  fresh.className = "badge danger solid";
  fresh.href = claim.asked_case;
  fresh.textContent = text;
  if (!link) asked.append(fresh);
}

async function renew() {
  clearTimeout(timer);
  let wait = AGAIN;
  const response = await post(place.dataset.claimUrl);
  if (response?.ok) {
    /** @type {Claim} */
    const claim = await response.json();
    show(claim);
    showAsked(claim);
    wait = claim.again_ms;
  }
  timer = setTimeout(renew, wait);
}

if (place) {
  renew();
  document.addEventListener("session-back", renew);
  addEventListener("pageshow", (event) => { if (event.persisted) renew(); });
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    if (isMine) post(place.dataset.releaseUrl);
  });
}
