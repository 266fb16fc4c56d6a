// The editor, loaded when it is first asked for: most cases are read without it, and its scripts are a tenth of the
// page's.

/** @typedef {import("./editor.js").Editor} Editor */

export class LazyEditor {
  /** @type {Editor | null} */
  #editor = null;
  /** @type {Promise<Editor> | null} */
  #loading = null;

  /** What `Editor` is made with, and `failed`, called where it could not be loaded.
      @param {import("../viewer/viewer.js").Viewer} viewer
      @param {import("../viewer/tools.js").Tools} tools
      @param {import("./layer.js").ReaderLayer} layer
      @param {import("./editor.js").Page & { failed(): void }} page */
  constructor(viewer, tools, layer, page) {
    this.viewer = viewer;
    this.tools = tools;
    this.layer = layer;
    this.page = page;
  }

  get isOpen() { return this.#editor?.isOpen ?? false; }

  get settled() { return this.#editor?.settled ?? Promise.resolve(); }

  mayLeave() { return this.#editor?.mayLeave() ?? Promise.resolve(true); }

  /** Lets the editor do something, one after the other as asked.
      @param {(editor: Editor) => unknown} act */
  async with(act) {
    this.#loading ??= import("./editor.js").then(({ Editor }) => new Editor(this.viewer, this.tools, this.layer, this.page));
    try {
      this.#editor = await this.#loading;
    } catch {
      this.#loading = null; // the next key tries again
      this.page.failed();
      return;
    }
    await act(this.#editor);
  }
}
