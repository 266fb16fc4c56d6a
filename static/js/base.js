// What every page shares: theme, tooltips, the "?" sheet, relative times, jumps by "g" + letter.

import { startClock } from "./time.js";

const THEMES = ["dark", "light", "system"];

/** The token that every unsafe request carries. */
export function csrfToken() {
  return document.querySelector("meta[name=csrf-token]")?.content ?? "";
}

/** True while the person is typing, so that single-letter keys keep quiet. */
export function isTyping(target) {
  return target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio], [type=button])"));
}

function wireTheme() {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    const show = () => { button.dataset.tip = `Theme: ${document.documentElement.dataset.theme}`; };
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

let tip = null;

function hideTip() { tip?.remove(); tip = null; }

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
    if (event.target.matches?.("[data-tip]:focus-visible")) showTip(event.target);
  });
  for (const name of ["focusout", "pointerdown", "keydown", "wheel"]) {
    document.addEventListener(name, () => { clearTimeout(wait); hideTip(); }, { passive: true });
  }
}

function wireKeys() {
  const sheet = document.getElementById("keys");
  const open = () => { if (!sheet.open) sheet.showModal(); };
  for (const button of document.querySelectorAll("[data-keys-open]")) button.addEventListener("click", open);
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  let afterG = null;  // when G was pressed; nothing before the first, or a page's first second would count as "after G"
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "?") { event.preventDefault(); if (sheet.open) sheet.close(); else open(); return; }
    const paths = { w: "/worklist", u: "/upload", h: "/history" };
    if (afterG !== null && event.timeStamp - afterG < 900 && event.key in paths) {
      afterG = null;
      event.preventDefault();
      event.stopImmediatePropagation();
      const link = document.querySelector(`a[href="${paths[event.key]}"]`);
      if (link) location.assign(paths[event.key]);
      return;
    }
    afterG = event.key === "g" ? event.timeStamp : null;
  }, { capture: true });
}

function wireMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

wireTheme();
wireTips();
wireKeys();
wireMenus();
startClock();
