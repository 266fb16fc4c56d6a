// The session of the person: work in the page counts as activity, a warning comes before the end, and
// when it has ended the page is hidden until the same person signs in again in its place.

import { csrfToken } from "./base.js";
import { _ } from "./language.js";

const TURN = 5000;          // ms between two looks at the clock
const ASK_EVERY = 60_000;   // the portal is asked this often: the session may be ended from elsewhere
const WARN = 120_000;       // before the end; a third of a short time without activity

/** @type {HTMLMetaElement | null} */
const meta = document.querySelector("meta[name=session]");
const channel = "BroadcastChannel" in window ? new BroadcastChannel("pleura-session") : null;

let idleEnd = 0;
let wholeEnd = 0;
let warnFor = WARN;
let askedAt = Date.now();
let isActive = false;
let isHidden = false;
/** @type {Promise<void> | null} */
let asking = null;
let title = "";

const ended = () => /** @type {HTMLDialogElement} */ (document.getElementById("session-ended"));
const warning = () => document.getElementById("session-warning");

/** @param {{ idle_seconds: number, left_seconds: number }} state */
function learn({ idle_seconds: idle, left_seconds: left }) {
  idleEnd = Date.now() + idle * 1000;
  wholeEnd = Date.now() + left * 1000;
}

/** Puts the token of the present session into the page and all its forms.
    @param {string} token */
function useToken(token) {
  /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=csrf-token]")).content = token;
  /** @type {NodeListOf<HTMLInputElement>} */
  const fields = document.querySelectorAll("input[name=csrf_token]");
  for (const field of fields) field.value = token;
}

// One request at a time. POST is activity of the person, GET is not.
/** @param {"GET" | "POST"} method */
function ask(method) {
  asking ??= request(method).finally(() => { asking = null; });
  return asking;
}

/** @param {"GET" | "POST"} method */
async function request(method) {
  askedAt = Date.now();
  if (method === "POST") isActive = false;
  const headers = { Accept: "application/json", "X-CSRFToken": csrfToken() };
  const response = await fetch(meta.dataset.state, { method, headers, cache: "no-store" }).catch(/** @returns {null} */ () => null);
  if (response?.ok) accept(await response.json());
  else if (response?.status === 401) hide();
  else if (method === "POST" && response?.status === 400) await request("GET"); // another session, another token
  else if (Date.now() >= Math.min(idleEnd, wholeEnd)) hide(); // the portal can't be asked
}

/** @param {{ person: string, idle_seconds: number, left_seconds: number, csrf: string }} state */
function accept(state) {
  if (state.person !== meta.content) { location.replace("/"); return; }
  learn(state);
  useToken(state.csrf);
  if (isHidden) show();
  warn();
}

// In steps, so that a screen reader does not announce every few seconds.
/** @param {number} ms */
function timeLeft(ms) {
  if (ms > 75_000) return _("2 minutes");
  if (ms > 45_000) return _("1 minute");
  return ms > 20_000 ? _("30 seconds") : _("a few seconds");
}

function warn() {
  const place = warning();
  const left = Math.min(idleEnd, wholeEnd) - Date.now();
  const due = !isHidden && left < warnFor;
  if (due) {
    const whole = wholeEnd <= idleEnd;
    const text = whole
      ? _("Your session ends in %(time)s, as every session does. Save what you write; then sign in again here.", { time: timeLeft(left) })
      : _("Your session ends in %(time)s, because nothing was done.", { time: timeLeft(left) });
    const line = place.querySelector("p");
    if (line.textContent !== text) line.textContent = text;
    place.querySelector("button").hidden = whole;
  }
  if (due === !place.hidden) return;
  place.hidden = !due;
  if (due) place.showPopover?.(); else place.hidePopover?.(); // above full screen, too
}

function turn() {
  const now = Date.now();
  const since = now - askedAt;
  const near = Math.min(idleEnd, wholeEnd) - now < warnFor;
  if (isHidden) {
    if (since > 2 * TURN && !ended().querySelector(".solo form")) ask("GET"); // the portal was away
    return;
  }
  if (now >= Math.min(idleEnd, wholeEnd)) {
    cover(); // at once; shown again if another tab kept the session alive while this one slept
    ask("GET");
  } else if (isActive && (idleEnd - now < warnFor || since > ASK_EVERY / 2)) ask("POST");
  else if (near ? since > 2 * TURN : since > ASK_EVERY && !document.hidden) ask("GET");
  warn();
}

function cover() {
  if (isHidden) return;
  isHidden = true;
  title = document.title;
  document.title = _("Signed out · Pleura");
  document.documentElement.classList.add("signed-out");
  warn();
  if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
}

function hide() {
  cover();
  const dialog = ended();
  if (!dialog.open) dialog.showModal();
  if (dialog.querySelector(".solo form")) return;
  openForm(meta.dataset.signIn);
}

function show() {
  isHidden = false;
  document.title = title;
  document.documentElement.classList.remove("signed-out");
  const dialog = ended();
  dialog.querySelector(".solo").replaceChildren();
  dialog.close();
  document.dispatchEvent(new Event("session-back"));
}

/** @param {string} text */
function report(text) {
  /** @type {HTMLElement} */
  const place = ended().querySelector(".error");
  place.textContent = text;
  place.hidden = !text;
}

/** @param {Element} root */
function renameIds(root) {
  for (const element of root.querySelectorAll("[id]")) element.id = `again-${element.id}`;
  for (const name of ["for", "aria-describedby"]) {
    for (const element of root.querySelectorAll(`[${name}]`)) {
      element.setAttribute(name, element.getAttribute(name).split(" ").map((id) => `again-${id}`).join(" "));
    }
  }
}

/** @param {string} address  @param {URLSearchParams | null} sent */
async function openForm(address, sent = null) {
  report("");
  const response = await fetch(address, { method: sent ? "POST" : "GET", body: sent, cache: "no-store" }).catch(/** @returns {null} */ () => null);
  if (!response) { report(_("The portal cannot be reached. Try again.")); return; }
  const isPage = response.headers.get("Content-Type")?.startsWith("text/html");
  const page = isPage ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  const column = page?.querySelector("main .solo");
  if (!column || response.status >= 500) { // signed in, or something went wrong
    await ask("GET");
    if (isHidden) report(_("Signing in here did not work. Reload the page."));
    else channel?.postMessage("changed");
    return;
  }
  column.querySelector(".brand")?.remove();
  const place = ended().querySelector(".solo");
  place.replaceChildren(...column.childNodes);
  renameIds(place); // the hidden page may have the same ones
  for (const link of place.querySelectorAll("a")) { // the hospital's own sign-in: in a tab of its own
    link.target = "_blank";
    link.href = link.href.replace(/next=[^&]*/, "next=%2Faccount");
  }
  /** @type {HTMLInputElement | null} */
  const email = place.querySelector("[name=email]");
  if (email && !email.value) { // who has to sign in here is known
    email.value = meta.dataset.email;
    email.autofocus = false;
    /** @type {HTMLInputElement} */ (place.querySelector("[name=password]")).autofocus = true;
  }
  if (place.querySelector("[data-passkey]")) (await import("./passkey.js")).wirePasskeys(place);
  const first = "[aria-invalid=true], [autofocus], [data-focus]";
  /** @type {HTMLElement | null} */ (place.querySelector(first) ?? place.querySelector("input:not([type=hidden])"))?.focus();
}

function wireSigningIn() {
  const dialog = ended();
  /** @param {Event} event */
  const send = (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (!form.closest(".solo")) return;
    event.preventDefault();
    const fields = /** @type {any} */ (new FormData(form));
    openForm(form.action, new URLSearchParams(fields));
  };
  dialog.addEventListener("submit", send);
  dialog.addEventListener("passkey", send);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => { if (isHidden) dialog.showModal(); });
}

/** Watches the session of a signed-in page, once. */
export function watchSession() {
  channel?.postMessage("changed"); // signed in or out: other tabs look at once
  if (!meta) return;
  learn({ idle_seconds: Number(meta.dataset.idle), left_seconds: Number(meta.dataset.left) });
  warnFor = Math.min(WARN, Number(meta.dataset.idle) * 1000 / 3);
  const act = () => { isActive = true; if (!warning().hidden) turn(); };
  for (const name of ["pointerdown", "keydown", "wheel"]) document.addEventListener(name, act, { passive: true, capture: true });
  document.addEventListener("pointermove", (event) => {
    if (event.movementX || event.movementY) act(); // not where the page moved under a still pointer
  }, { passive: true });
  warning().querySelector("button").addEventListener("click", () => ask("POST"));
  wireSigningIn();
  document.addEventListener("session-lost", () => ask("GET"));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { if (isHidden) ask("GET"); else turn(); } });
  channel?.addEventListener("message", () => ask("GET"));
  setInterval(turn, TURN);
}
