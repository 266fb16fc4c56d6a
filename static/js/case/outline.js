// The reader's outline on the case page: the newest version over the film, the editor, and the panel, which is
// fetched again once a version was saved and once it was measured.

import { ReaderLayer } from "../editor/layer.js";
import { LazyEditor } from "../editor/lazy.js";
import { boxOf, decode } from "../editor/runs.js";
import { getJson, poll, swap } from "../poll.js";
import { refreshTimes } from "../time.js";
import { fetchBytes } from "../viewer/transfer.js";
import { _ } from "../language.js";

/** @typedef {import("../viewer/viewer.js").ViewerInfo} ViewerInfo */

export class OutlineOnPage {
  /** @type {{ stop(): void } | null} */
  #waiting = null;

  /** @param {import("../viewer/viewer.js").Viewer} viewer
      @param {import("../viewer/tools.js").Tools} tools
      @param {{
        threshold(): number | null, changed(): void, fetched(page: Document): void,
        trouble(text: string, choices?: Record<string, () => void>): void,
      }} page */
  constructor(viewer, tools, page) {
    this.viewer = viewer;
    this.page = page;
    this.layer = new ReaderLayer(viewer);
    this.editor = new LazyEditor(viewer, tools, this.layer, {
      threshold: page.threshold,
      changed: page.changed,
      failed: () => page.trouble(_("The editor could not be loaded."), { [_("Try again")]: () => this.editor.with((one) => one.open(false)) }),
      closed: (saved) => this.#closed(saved),
    });
    this.load();
    if (viewer.info.outline.measuring) this.#await();
    document.getElementById("outline-panel")?.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("[data-outline]") : null;
      if (button instanceof HTMLElement) this.#show(button.dataset.outline);
    });
  }

  /** Actions by name, for buttons and keys. */
  get actions() {
    const { editor, layer } = this;
    /** @type {import("../viewer/actions.js").Actions} */
    const found = { "reader-outline": () => layer.toggle() };
    if (!this.viewer.info.outline.mayEdit) return found;
    /** @param {(one: import("../editor/editor.js").Editor) => unknown} act */
    const ask = (act) => () => editor.with(act);
    return Object.assign(found, {
      "edit": ask((one) => one.toggle()),
      "edit-brush": ask((one) => one.use("brush")),
      "edit-eraser": ask((one) => one.use("eraser")),
      "edit-polygon": ask((one) => one.use("polygon")),
      "edit-fill": ask((one) => one.use("fill")),
      "edit-delete": ask((one) => one.use("delete")),
      "edit-threshold": ask((one) => one.fromMap()),
      "edit-empty": ask((one) => one.empty()),
      "edit-start-over": ask((one) => one.startOver()),
      "edit-smaller": ask((one) => one.resize(-1)),
      "edit-larger": ask((one) => one.resize(1)),
      "edit-undo": ask((one) => one.undo()),
      "edit-redo": ask((one) => one.redo()),
      "edit-take-over": ask((one) => one.open(true)),
    });
  }

  /** The newest version over the film. */
  async load() {
    const { newest } = this.viewer.info.outline;
    if (newest && !this.editor.isOpen) await this.#show(newest);
  }

  /** @param {string} id */
  async #show(id) {
    if (this.editor.isOpen) return;
    const { outline, rows, columns } = this.viewer.info;
    try {
      const data = decode(new Uint8Array(await fetchBytes(`${outline.url}/${id}`)), rows * columns);
      if (this.editor.isOpen) return; // opened meanwhile
      this.layer.shown = true;
      this.layer.show({ data, rows, columns, box: boxOf(data, rows, columns) });
      this.viewer.root.dataset.outline = id;
    } catch {
      this.page.trouble(_("The reader’s outline could not be loaded."), { [_("Try again")]: () => this.#show(id) });
    }
  }

  /** @param {boolean} saved */
  async #closed(saved) {
    if (!saved && !this.viewer.info.outline.newest) this.layer.show(null);
    await this.#refresh();
    await this.load();
    if (this.viewer.info.outline.measuring) this.#await();
  }

  // What the page says about outlines; the rest of it stays as it is.
  async #refresh() {
    try {
      const response = await fetch(location.href, { cache: "no-store" });
      if (!response.ok) throw new Error("the page could not be fetched again");
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const panel = document.getElementById("outline-panel");
      swap(panel, page.getElementById("outline-panel"));
      refreshTimes(panel);
      this.viewer.info.outline = JSON.parse(page.getElementById("film").dataset.viewer).outline;
      this.page.fetched(page);
    } catch {
      this.page.trouble(_("The list of outlines could not be loaded."), { [_("Try again")]: () => this.#refresh() });
    }
  }

  // Measured by a worker, in some seconds; a worker that is away is waited for less and less often.
  #await() {
    this.#waiting?.stop();
    let pause = 1000;
    this.#waiting = poll(async () => {
      const { outline, picture } = this.viewer.info;
      const state = await getJson(`${outline.url}/state?picture=${picture}`);
      if (state.measuring !== "waiting") { await this.#refresh(); return null; }
      pause = Math.min(30_000, pause * 1.5);
      return pause;
    }, 1000);
  }
}
