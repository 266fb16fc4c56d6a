// Asks the portal repeatedly: never while the tab is hidden, and less often after errors.

/** Calls `ask()` until `stop()`; ask resolves to the milliseconds until the next call, or null to end.
    After the end of the session it waits until the person has signed in again (session.js).
    `onTrouble(n)` gets the number of failures in a row, and 0 once the portal answers again.
    @param {() => Promise<number | null>} ask  @param {(failures: number) => void} onTrouble */
export function poll(ask, first = 1500, onTrouble = () => {}) {
  let timer = 0;
  let failures = 0;
  let stopped = false;
  let asking = false;

  async function turn() {
    if (stopped || asking || document.hidden) return;
    asking = true;
    let wait;
    try {
      wait = await ask();
      if (failures) onTrouble(0);
      failures = 0;
    } catch (error) {
      if (error instanceof SignedOut) {
        asking = false;
        document.addEventListener("session-back", () => turn(), { once: true });
        document.dispatchEvent(new Event("session-lost"));
        return;
      }
      failures += 1;
      onTrouble(failures);
      wait = Math.min(30000, 2000 * 2 ** failures);
    }
    asking = false;
    if (wait === null) stopped = true;
    else if (!stopped) timer = setTimeout(turn, wait);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) turn();
  });
  timer = setTimeout(turn, first);
  return { stop() { stopped = true; clearTimeout(timer); }, now() { clearTimeout(timer); turn(); } };
}

export class SignedOut extends Error {}

/** JSON of a GET that does not count as activity of the person; throws SignedOut after the session.
    @param {string} url  @returns {Promise<any>} */
export async function getJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (response.status === 401 || response.redirected) throw new SignedOut();
  if (!response.ok) throw new Error(`the portal answered ${response.status}`);
  return response.json();
}

/** Replaces the element's content, fading in, if it differs; returns whether it did.
    @param {Element} old  @param {Element} fresh */
export function swap(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return false;
  old.replaceChildren(...fresh.childNodes);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  if (!fresh.hasAttribute("hidden")) old.removeAttribute("hidden");
  old.classList.remove("fade-in");
  requestAnimationFrame(() => old.classList.add("fade-in"));
  return true;
}
