// Relative times: the text of every <time data-ago> is kept up to date.

import { _, language } from "./language.js";

// In English as the browser's own language writes it: 30 Nov or Nov 30.
const exact = new Intl.DateTimeFormat(language === "en" ? undefined : language, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** "just now", "4 min ago", "3 h ago", "2 days ago": the same texts as the server's macro.
    @param {number} seconds */
export function agoText(seconds) {
  if (seconds < 45) return _("just now");
  if (seconds < 5400) return _("%(count)s min ago", { count: Math.floor((seconds + 30) / 60) });
  if (seconds < 129600) return _("%(count)s h ago", { count: Math.floor((seconds + 1800) / 3600) });
  return _("%(count)s days ago", { count: Math.floor((seconds + 43200) / 86400) });
}

/** @param {{ querySelectorAll(selectors: string): NodeListOf<HTMLTimeElement> }} root */
function refresh(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const when = new Date(time.dateTime);
    if (Number.isNaN(when.valueOf())) continue;
    const text = agoText((Date.now() - when.valueOf()) / 1000);
    if (time.textContent !== text) time.textContent = text;
    time.title = exact.format(when);
  }
}

/** @type {(change: () => void) => void} */
let enclose = (change) => change();

/** What each update by the clock is done within: a longer text may take another line.
    @param {(change: () => void) => void} within */
export function encloseUpdates(within) { enclose = within; }

/** Updates all times now, and every 20 seconds while the page is visible. */
export function startClock() {
  const update = () => { if (!document.hidden) enclose(() => refresh(document)); };
  refresh(document);
  setInterval(update, 20000);
  document.addEventListener("visibilitychange", update);
}

export { refresh as refreshTimes };
