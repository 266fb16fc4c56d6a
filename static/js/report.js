// A report is asked for without leaving the page; its part of the page is renewed until it is made.

import { csrfToken } from "./base.js";
import { _ } from "./language.js";
import { getJson, poll, swap } from "./poll.js";
import { refreshTimes } from "./time.js";

const LONGEST_PAUSE = 15_000;
const panel = document.getElementById("report-panel");
/** @type {{ stop(): void } | null} */
let waiting = null;

/** @param {string} text */
function say(text) {
  const status = document.getElementById("report-status");
  status.textContent = text;
  status.scrollIntoView({ block: "nearest" }); // asked for by a key, it may lie below the window
}

/** The part of the page as it is now; whether a report is still being made. */
async function renew() {
  const response = await fetch(panel.dataset.page, { cache: "no-store" });
  if (!response.ok || response.redirected) throw new Error("the list of reports could not be fetched");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("report-panel");
  const was = document.activeElement?.id;
  panel.toggleAttribute("data-waiting", fresh.hasAttribute("data-waiting"));
  swap(panel, fresh);
  refreshTimes(panel);
  if (was && panel.contains(document.getElementById(was))) document.getElementById(was).focus();
  return fresh.hasAttribute("data-waiting");
}

function await_() {
  waiting?.stop();
  let pause = 700;
  waiting = poll(async () => {
    /** @type {Record<string, string>} */
    const states = await getJson(panel.dataset.state);
    if (!Object.values(states).includes("waiting")) { await renew(); return null; }
    pause = Math.min(LONGEST_PAUSE, pause * 1.4);
    return pause;
  }, pause);
}

/** @param {HTMLFormElement} form of the report, or of the DICOM objects of one */
async function make(form) {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button[type=submit]"));
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  const isReport = form.dataset.asks !== "objects";
  say(isReport ? _("The report is being made.") : _("The DICOM objects are being made."));
  try {
    const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json" };
    const response = await fetch(form.action, { method: "POST", headers });
    if (response.status === 401 || response.redirected) {
      document.dispatchEvent(new Event("session-lost"));
      throw new Error(_("Your session has ended: sign in again, then ask again."));
    }
    if (!response.ok) {
      const answer = await response.json().catch(() => ({}));
      throw new Error(answer.detail || answer.title || _("This could not be asked for."));
    }
    if (await renew()) await_();
  } catch (error) {
    const offline = error instanceof TypeError || !(error instanceof Error);
    say(offline ? _("The portal does not answer. Ask again.") : error.message);
  }
  button.removeAttribute("aria-disabled");
  document.getElementById("report-make")?.removeAttribute("aria-disabled");
}

if (panel) {
  panel.addEventListener("submit", (event) => {
    if (!(event.target instanceof HTMLFormElement)) return;
    event.preventDefault();
    make(event.target);
  });
  if (panel.hasAttribute("data-waiting")) await_();
}
