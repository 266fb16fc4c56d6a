// Relative times: the text of every <time data-ago> is kept up to date.

const exact = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** "just now", "4 min ago", "3 h ago", "2 days ago": the same texts as the server's macro.
    @param {number} seconds */
export function agoText(seconds) {
  if (seconds < 45) return "just now";
  if (seconds < 5400) return `${Math.floor((seconds + 30) / 60)} min ago`;
  if (seconds < 129600) return `${Math.floor((seconds + 1800) / 3600)} h ago`;
  return `${Math.floor((seconds + 43200) / 86400)} days ago`;
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

/** Updates all times now, and every 20 seconds while the page is visible. */
export function startClock() {
  refresh(document);
  setInterval(() => { if (!document.hidden) refresh(document); }, 20000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(document); });
}

export { refresh as refreshTimes };
