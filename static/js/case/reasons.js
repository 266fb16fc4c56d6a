// The reasons of a review: a box for each, in a part of the form that opens. Of none the summary has the name of the field.

export class Reasons {
  /** @param {HTMLDetailsElement} root */
  constructor(root) {
    this.root = root;
    this.summary = root.querySelector("summary");
    /** @type {HTMLInputElement[]} */
    this.boxes = [...root.querySelectorAll("input")].filter((one) => one.type === "checkbox");
  }

  /** Enter in a box saves, as it does in a list; Escape closes.
      @param {() => void} save  @param {() => void} changed */
  wire(save, changed) {
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target !== this.summary) {
        event.preventDefault();
        this.#close();
        save();
      }
      if (event.key === "Escape" && this.root.open) {
        event.stopPropagation();
        this.#close();
      }
    });
    this.root.addEventListener("input", () => { this.#name(); changed(); });
  }

  #close() {
    this.root.open = false;
    this.summary.focus();
  }

  /** Opens the boxes, the first of which has the focus. */
  focus() {
    this.root.open = true;
    (this.boxes.find((one) => !one.disabled) ?? this.summary).focus();
  }

  /** The codes that are chosen, with commas between them. */
  get value() { return this.boxes.filter((one) => one.checked).map((one) => one.value).join(","); }

  set value(codes) {
    const chosen = new Set(codes.split(","));
    for (const one of this.boxes) one.checked = chosen.has(one.value);
    this.#name();
  }

  /** Those that fit can be chosen.
      @param {Set<string>} fitting */
  offer(fitting) {
    for (const one of this.boxes) one.disabled = one.parentElement.hidden = !fitting.has(one.value);
    this.root.inert = !fitting.size;
    if (!fitting.size) this.root.open = false;
  }

  #name() {
    const texts = this.boxes.filter((one) => one.checked).map((one) => one.parentElement.textContent.trim());
    this.summary.textContent = texts.join("; ") || this.summary.dataset.none;
    this.summary.toggleAttribute("data-chosen", texts.length > 0);
  }
}
