// The toolbar is one stop of the Tab key: arrow keys, Home and End move the focus inside it
// (WAI-ARIA Authoring Practices, toolbar pattern). It stays where it was left.

/** @type {Record<string, number>} */
const BY = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** @param {HTMLElement} bar  an element with role=toolbar and its buttons */
export function wireToolbar(bar) {
  const buttons = /** @type {HTMLElement[]} */ ([...bar.querySelectorAll("button")]);
  /** @param {HTMLElement} stop */
  const makeStop = (stop) => { for (const button of buttons) button.tabIndex = button === stop ? 0 : -1; };
  bar.addEventListener("focusin", (event) => makeStop(/** @type {HTMLElement} */ (event.target)));
  bar.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(/** @type {HTMLElement} */ (event.target));
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    let to = null;
    if (BY[event.key]) to = (at + BY[event.key] + buttons.length) % buttons.length;
    if (event.key === "Home") to = 0;
    if (event.key === "End") to = buttons.length - 1;
    if (to === null) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere arrow keys move the picture
    buttons[to].focus();
  });
}
