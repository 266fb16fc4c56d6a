// What every page shares: theme, tooltips, the "?" sheet, relative times, jumps by "g" + letter, the
// person's session, tables that become cards in narrow windows.

import { watchSession } from "./session.js";
import { startClock } from "./time.js";
import { _ } from "./language.js";

/** A part of the page. What it finds inside is HTML: nothing looks up SVG.
    @typedef {{
      querySelector<E extends HTMLElement = HTMLElement>(selectors: string): E | null,
      querySelectorAll<E extends HTMLElement = HTMLElement>(selectors: string): NodeListOf<E>,
    } & HTMLElement} Part */

const THEMES = ["dark", "light", "system"];

/** The token that every unsafe request carries. */
export function csrfToken() {
  return tokenOf(document)?.content ?? "";
}

/** @param {Document} page  @returns {HTMLMetaElement | null} */
function tokenOf(page) { return page.querySelector("meta[name=csrf-token]"); }

/** Puts the current session's token into the page; false where there is no newer one. */
export async function renewToken() {
  const response = await fetch(location.href, { cache: "no-store" });
  if (!response.ok || response.redirected) return false;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const token = tokenOf(page)?.content;
  if (!token || token === csrfToken()) return false;
  tokenOf(document).content = token;
  return true;
}

/** A random UUID, also where the page came unencrypted: browsers offer their own over https alone. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** True while the person is typing: single-letter keys are then text, not shortcuts.
    @param {EventTarget | null} target */
export function isTyping(target) {
  return target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio], [type=button], [type=file])"));
}

/** The key of an event, letters in lower case despite Caps Lock; null for the browser's own shortcuts.
    @param {KeyboardEvent} event  @returns {string | null} */
export function keyOf(event) {
  const altGr = event.getModifierState?.("AltGraph"); // types "[" on many keyboards, and reports Ctrl+Alt
  if (event.metaKey || ((event.ctrlKey || event.altKey) && !altGr)) return null;
  if (event.key?.length !== 1) return event.key ?? null;
  const otherAlphabet = /[^\x20-\x7e]/.test(event.key) && /^Key([A-Z])$/.exec(event.code);
  return otherAlphabet ? otherAlphabet[1].toLowerCase() : event.key.toLowerCase();
}

function wireTheme() {
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll("[data-theme-toggle]");
  for (const button of buttons) {
    const show = () => { button.dataset.tip = document.documentElement.dataset.theme === "light" ? _("Theme: light") : _("Theme: dark"); };
    show();
    button.addEventListener("click", () => {
      const root = document.documentElement;
      root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
      const secure = location.protocol === "https:" ? "; secure" : "";
      document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict${secure}`;
      show();
      showTip(button);
    });
  }
}

/** @type {HTMLElement | null} */
let tip = null;

function hideTip() { tip?.remove(); tip = null; }

/** @param {Element & Partial<HTMLOrSVGElement>} target */
function showTip(target) {
  hideTip();
  tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("aria-hidden", "true");
  tip.textContent = target.dataset.tip;
  const host = document.fullscreenElement ?? target.closest("dialog") ?? document.body;
  host.append(tip);
  const box = target.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const side = target.dataset.tipSide;
  let left = box.left + box.width / 2 - own.width / 2;
  let top = box.bottom + 6;
  if (side === "right") { left = box.right + 8; top = box.top + box.height / 2 - own.height / 2; }
  if (top + own.height > innerHeight - 4) top = box.top - own.height - 6;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - own.width - 4))}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function wireTips() {
  let wait = 0;
  document.addEventListener("pointerover", (event) => {
    const target = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    clearTimeout(wait);
    if (!target) { hideTip(); return; }
    if (event.pointerType === "touch") return;
    wait = setTimeout(() => target.isConnected && showTip(target), 350);
  });
  document.addEventListener("focusin", (event) => {
    if (event.target instanceof Element && event.target.matches("[data-tip]:focus-visible")) showTip(event.target);
  });
  for (const name of ["focusout", "pointerdown", "keydown", "wheel"]) {
    document.addEventListener(name, () => { clearTimeout(wait); hideTip(); }, { passive: true });
  }
}

function wireKeys() {
  const sheet = /** @type {HTMLDialogElement} */ (document.getElementById("keys"));
  const open = () => { if (!sheet.open) sheet.showModal(); };
  for (const button of document.querySelectorAll("[data-keys-open]")) button.addEventListener("click", open);
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  /** @type {number | null} */
  let afterG = null;  // when G was pressed; not 0, or every key in a page's first second would count as "after G"
  document.addEventListener("keydown", (event) => {
    const key = keyOf(event);
    if (!key || event.repeat || isTyping(event.target) || document.querySelector("dialog[open]:not(#keys)")) return;
    if (key === "?") { event.preventDefault(); if (sheet.open) sheet.close(); else open(); return; }
    const jump = /** @type {HTMLElement | null} */ (/^[a-z]$/.test(key) ? sheet.querySelector(`[data-jump=${key}]`) : null);
    if (afterG !== null && event.timeStamp - afterG < 900 && jump) {
      afterG = null;
      event.preventDefault();
      event.stopImmediatePropagation();
      jump.click();
      return;
    }
    afterG = key === "g" ? event.timeStamp : null;
  }, { capture: true });
}

/** @returns {NodeListOf<HTMLDetailsElement>} */
function openMenus() { return document.querySelectorAll("details.menu[open]"); }

function wireMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of openMenus()) {
      if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of openMenus()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

// In a narrow window a table's rows become cards; each cell then has its column's name beside it. The
// roles stay: browsers drop them where CSS displays a table as something else.
function labelCells() {
  for (const table of document.querySelectorAll(".table")) {
    const names = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    table.setAttribute("role", "table");
    for (const group of table.querySelectorAll("thead, tbody")) group.setAttribute("role", "rowgroup");
    for (const head of table.querySelectorAll("th")) head.setAttribute("role", "columnheader");
    /** @type {NodeListOf<HTMLTableRowElement>} */
    const rows = table.querySelectorAll("tr");
    for (const row of rows) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, at) => {
        if (cell.matches("td")) cell.setAttribute("role", "cell");
        if (cell.colSpan === 1) cell.dataset.label = names[at] ?? "";
      });
    }
  }
}

// In a narrow window the tabs scroll; the current one is then in sight.
function showCurrentTab() {
  const tab = document.querySelector(".nav [aria-current]");
  if (!tab) return;
  const tabs = tab.parentElement;
  const beyond = tab.getBoundingClientRect().right - tabs.getBoundingClientRect().right;
  if (beyond > 0) tabs.scrollLeft += Math.ceil(beyond);
}

wireTheme();
labelCells();
showCurrentTab();
addEventListener("resize", showCurrentTab);
wireTips();
wireKeys();
wireMenus();
startClock();
watchSession();
