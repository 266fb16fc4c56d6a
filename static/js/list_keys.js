// Keys of a list of cases: j, k and arrows move, Enter opens, [ and ] turn pages.

import { isTyping, keyOf } from "./base.js";

/** @param {string} rel  @returns {HTMLAnchorElement | null} */
function linkTo(rel) { return document.querySelector(`a[rel=${rel}]`); }

/** Listens for the keys of a list; `more` adds keys of the page.
    @param {Record<string, () => void>} more */
export function wireListKeys(more = {}) {
  const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".case-link")]);
  /** @param {number} by */
  const move = (by) => {
    const at = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
    links[to]?.focus();
    links[to]?.scrollIntoView({ block: "nearest" });
  };
  /** @type {Record<string, () => void>} */
  const keys = {
    j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
    "[": () => linkTo("prev")?.click(),
    "]": () => linkTo("next")?.click(),
    ...more,
  };
  document.addEventListener("keydown", (event) => {
    const key = keyOf(event);
    if (!key || document.querySelector("dialog[open]")) return;
    if (isTyping(event.target)) { if (key === "Escape") /** @type {HTMLElement} */ (event.target).blur(); return; }
    if (!keys[key]) return;
    event.preventDefault();
    keys[key]();
  });
}
