// The field for the text of an arrow, on the film where the arrow begins. Enter stores it, also an empty one;
// Escape removes an arrow that has just been drawn.

import { _ } from "../language.js";

const LENGTH = 80;

export class ArrowText {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    /** @type {HTMLInputElement | null} */
    this.input = null;
  }

  /** @param {import("./annotations.js").Annotation} item  @param {string} pointer  the kind that has drawn it */
  ask(item, pointer) {
    this.input?.blur();
    const { viewer } = this;
    const input = document.createElement("input");
    this.input = input;
    input.className = "film-text";
    input.maxLength = LENGTH;
    input.autocomplete = "off";
    input.setAttribute("aria-label", _("Text of the arrow"));
    input.placeholder = _("Text, Enter stores it");
    const at = viewer.geometry.toScreen(item.line[0], item.line[1]);
    input.style.left = `${Math.max(4, Math.min(viewer.geometry.width - 190, at.x))}px`;
    input.style.top = `${Math.max(4, Math.min(viewer.geometry.height - 30, at.y + 8))}px`;
    /** @param {boolean} stays */
    const end = (stays) => {
      if (this.input !== input) return;
      this.input = null;
      input.remove();
      if (stays) viewer.annotations.name(item, input.value);
      else { viewer.annotations.remove(item); viewer.annotations.onChange?.(viewer.annotations.items); }
      viewer.refreshLayer();
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      end(event.key === "Enter");
      viewer.stage.focus({ preventScroll: true });
    });
    for (const name of ["pointerdown", "dblclick"]) input.addEventListener(name, (event) => event.stopPropagation());
    input.addEventListener("blur", () => end(true));
    viewer.stage.append(input);
    // A mouse has a keyboard beside it: what is typed at once must not be keys of the page, which state findings.
    // After a touch the browser gives the film the focus once more.
    if (pointer === "mouse") input.focus();
    else setTimeout(() => input.focus(), 0);
  }
}
