// Conveniences of the sign-in and account pages; every form works without them.

import { _ } from "./language.js";

/** @param {string} selector  @returns {NodeListOf<HTMLButtonElement>} */
function buttons(selector) { return document.querySelectorAll(selector); }

for (const button of buttons("[data-show]")) {
  const input = /** @type {HTMLInputElement} */ (document.getElementById(button.dataset.show));
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = input.type === "text";
    input.type = shown ? "password" : "text";
    button.textContent = shown ? _("Show") : _("Hide");
    button.setAttribute("aria-pressed", String(!shown));
    input.focus();
  });
  input.form.addEventListener("submit", () => { input.type = "password"; });
}

for (const button of buttons("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const label = button.lastChild;
  const text = label.textContent;
  button.addEventListener("click", async () => {
    const source = /** @type {HTMLInputElement} */ (document.getElementById(button.dataset.copy));
    const items = [...source.querySelectorAll("li")].map((item) => item.textContent);
    await navigator.clipboard.writeText(items.length ? items.join("\n") : source.value ?? source.textContent);
    label.textContent = _("Copied");
    setTimeout(() => { label.textContent = text; }, 2000);
  });
}

for (const button of buttons("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

// After a refused form: focus the field with the error, or else the message.
/** @type {HTMLElement | null} */ (document.querySelector("[aria-invalid=true]") ?? document.querySelector("[data-focus]"))?.focus();
