// A second picture beside the one that is read: the latest comparable prior hangs by itself where the reader wants
// it and the window is wide, another picture can be chosen. Keys and tools act on the active pane. The picture
// beside is looked at only: nothing that is drawn on it is stored.

import { boxOf, decode } from "../editor/runs.js";
import { ReaderLayer } from "../editor/layer.js";
import { getJson } from "../poll.js";
import { viewerActions } from "../viewer/actions.js";
import { Links } from "../viewer/links.js";
import { Readout } from "../viewer/readout.js";
import { Tools } from "../viewer/tools.js";
import { fetchBytes } from "../viewer/transfer.js";
import { Viewer } from "../viewer/viewer.js";
import { _ } from "../language.js";

const WIDE = 1100;   // CSS pixels: below, nothing hangs by itself

/** @typedef {{
      viewer: import("../viewer/viewer.js").ViewerInfo | null, spacing?: string,
      label: { kind: string, same: boolean, when: string, details: string[] } | null,
      choices: { picture: string, kind: string, text: string, isShown: boolean }[],
    }} Answer  of portal.web.present.viewing.beside */
/** @typedef {{
      viewer: Viewer, tools: Tools, readout: Readout, actions: import("../viewer/actions.js").Actions,
    }} Pane */

export class Beside {
  /** @type {Pane | null} */
  pane = null;
  /** @type {Links | null} */
  #links = null;
  /** @type {Answer["choices"]} */
  #choices = [];
  #opening = 0;
  #loading = Promise.resolve();

  /** `main`: the picture that is read. `page.activate` gives its keys and buttons to a pane, `page.wire` makes the
      buttons of a part work.
      @param {Pane} main
      @param {{ activate(pane: Pane): void, wire(root: import("../base.js").Part): void, trouble(text: string, choices?: Record<string, () => void>): void }} page */
  constructor(main, page) {
    this.main = main;
    this.page = page;
    this.active = main;
    /** The section of the picture beside, while there is one.
        @type {import("../base.js").Part | null} */
    this.root = null;
    main.viewer.stage.addEventListener("pointerdown", () => this.activate(main), { capture: true });
    main.viewer.stage.addEventListener("focus", () => this.activate(main));
    main.viewer.beside = this;
    const { preferences, info } = main.viewer;
    if (preferences.beside && info.besideUrl && info.mayHaveBeside && !info.seen && innerWidth >= WIDE) this.open(null);
  }

  get #preferences() { return this.main.viewer.preferences; }

  /** Actions by name, whichever pane is active. */
  get actions() {
    /** @type {import("../viewer/actions.js").Actions} */
    return {
      "beside": () => this.toggle(),
      "beside-next": () => this.next(),
      "pane": () => this.switch(),
      "link-place": () => this.#link("link_place"),
      "link-window": () => this.#link("link_window"),
    };
  }

  toggle() {
    const isOpen = Boolean(this.pane);
    if (innerWidth >= WIDE) this.main.viewer.remember({ beside: !isOpen });
    if (isOpen) this.close();
    else this.open(null, true);
  }

  /** The picture beside, by its id. Null: the latest comparable prior; where there is none and the reader has
      `asked`, the first of the choices.
      @param {string | null} picture */
  async open(picture, asked = false) {
    const { viewer } = this.main;
    const { besideUrl } = viewer.info;
    if (!besideUrl) { this.page.trouble(_("Under emergency access no other exam is opened.")); return; }
    const mine = this.#opening += 1;
    try {
      /** @type {Answer} */
      let answer = await getJson(this.#address(picture));
      if (!answer.viewer && asked && answer.choices.length) answer = await getJson(this.#address(answer.choices[0].picture));
      if (mine !== this.#opening) return; // another one was chosen meanwhile
      this.#choices = answer.choices;
      if (answer.viewer) this.#show(answer);
      else if (asked) this.page.trouble(_("There is no other picture of this patient."));
    } catch {
      const text = viewer.info.seen
        ? _("The picture that lay beside could not be opened; it may be there no longer.")
        : _("The picture beside could not be loaded.");
      if (mine === this.#opening) this.page.trouble(text, { [_("Try again")]: () => this.open(picture, asked) });
    }
  }

  /** @param {string | null} picture */
  #address(picture) {
    const { besideUrl, picture: shown } = this.main.viewer.info;
    const address = new URL(besideUrl, location.href);
    address.searchParams.set("shown", shown);
    if (picture) address.searchParams.set("picture", picture);
    return address.href;
  }

  get #select() { return /** @type {HTMLSelectElement} */ (this.root.querySelector("#beside-choice")); }

  #make() {
    const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#beside-template"));
    template.before(template.content.cloneNode(true));
    this.root = document.querySelector("#film-beside");
    this.#select.addEventListener("change", () => { this.open(this.#select.value); this.root.querySelector(".film-stage").focus(); });
    const stage = this.root.querySelector(".film-stage");
    for (const name of ["pointerdown", "focus"]) stage.addEventListener(name, () => { if (this.pane) this.activate(this.pane); }, { capture: true });
    this.page.wire(this.root);
    document.body.classList.add("two-films");
  }

  /** @param {Answer} answer */
  #show(answer) {
    const wasActive = this.active !== this.main;
    this.#end();
    if (!this.root) this.#make();
    const { root } = this;
    root.dataset.depth = root.dataset.tool = "";
    root.dataset.kind = answer.label.same ? "same" : "prior";
    this.#out("kind", answer.label.kind);
    this.#out("when", answer.label.when);
    this.#out("details", answer.label.details.join(" · "));
    this.#out("spacing", answer.spacing);
    this.#select.replaceChildren(...this.#choices.map(({ picture, kind, text }) => new Option(`${kind} · ${text}`, picture)));
    this.#select.value = answer.viewer.picture;
    root.querySelector(".film-preview")?.remove();
    if (answer.viewer.preview) {
      const image = document.createElement("img");
      image.className = "film-preview fade-in";
      image.alt = _("%(kind)s: chest X-ray, %(when)s", { kind: answer.label.kind, when: answer.label.when });
      image.src = answer.viewer.preview;
      root.querySelector(".film-picture").after(image);
    }
    const viewer = new Viewer(root, answer.viewer);
    // The AI's overlay of the other picture is not before the eye: its key shows it.
    if (viewer.overlay.setting === "on") { viewer.overlay.setting = "key"; viewer.overlay.shown = false; }
    viewer.addEventListener("lost", () => this.#load(viewer));
    const tools = new Tools(viewer);
    tools.use(this.main.tools.current === "draw" ? "window" : this.main.tools.current);
    const readout = new Readout(viewer, tools, () => this.active.viewer === viewer);
    this.pane = { viewer, tools, readout, actions: viewerActions(viewer, tools, null) };
    this.#links = new Links(this.main.viewer, viewer, { place: this.#preferences.link_place, window: this.#preferences.link_window });
    this.#links.align(this.main.viewer, viewer);
    this.#press();
    if (wasActive) this.activate(this.pane);
    else this.activate(this.main);
    this.#loading = this.#load(viewer);
  }

  /** @param {Viewer} viewer */
  async #load(viewer) {
    const { info } = viewer;
    const wait = this.root.querySelector(".film-wait");
    const bar = this.root.querySelector(".film-progress");
    wait.hidden = true;
    bar.classList.remove("done");
    try {
      await viewer.loadPixels(info.pixels, (share) => { bar.style.transform = `scaleX(${share})`; });
      if (info.map && !viewer.closed) {
        await viewer.loadProbability(info.map.url, info.map.rows, info.map.columns);
        viewer.overlay.setOthers(info.otherOutlines);
        viewer.overlay.distanceLine = info.distanceLine;
        viewer.overlay.cut(info.measuredPixels ? info.threshold : null, info.islandFloor);
      }
      await this.#loadOutline(viewer);
      viewer.refreshLayer();
    } catch {
      if (viewer.closed) return;
      wait.hidden = false;
      wait.querySelector("strong").textContent = _("The full picture could not be loaded.");
    }
    bar.classList.add("done");
  }

  // A reader's outline of that picture: hidden as the AI's is, until ⇧O.
  /** @param {Viewer} viewer */
  async #loadOutline(viewer) {
    const { outline, rows, columns } = viewer.info;
    if (!outline.newest || viewer.closed) return;
    const data = decode(new Uint8Array(await fetchBytes(`${outline.url}/${outline.newest}`)), rows * columns);
    if (viewer.closed) return;
    const layer = new ReaderLayer(viewer);
    layer.shown = false;
    layer.show({ data, rows, columns, box: boxOf(data, rows, columns) });
    this.pane.actions["reader-outline"] = () => layer.toggle();
    if (this.active === this.pane) this.page.activate(this.pane);
  }

  /** The next one of the choices. */
  next() {
    if (!this.pane) { this.toggle(); return; }
    const at = this.#choices.findIndex(({ picture }) => picture === this.#select.value);
    const next = this.#choices[(at + 1) % this.#choices.length];
    if (next && next.picture !== this.#select.value) this.open(next.picture);
  }

  switch() {
    if (!this.pane) return;
    this.activate(this.active === this.main ? this.pane : this.main);
    this.active.viewer.stage.focus({ preventScroll: true });
  }

  /** @param {Pane} pane */
  activate(pane) {
    this.active = pane;
    document.body.dataset.pane = pane === this.main ? "read" : "beside";
    this.page.activate(pane);
    for (const one of [this.main, this.pane]) one?.readout.refresh();
  }

  /** @param {"link_place" | "link_window"} name */
  #link(name) {
    if (!this.pane) return;
    const linked = !this.#preferences[name];
    this.main.viewer.remember({ [name]: linked });
    this.#links.links[name === "link_place" ? "place" : "window"] = linked;
    if (linked) this.#links.align(this.active.viewer, (this.active === this.main ? this.pane : this.main).viewer);
    this.#press();
  }

  #press() {
    for (const [action, name] of /** @type {const} */ ([["link-place", "link_place"], ["link-window", "link_window"]])) {
      this.root?.querySelector(`[data-action=${action}]`).setAttribute("aria-pressed", String(this.#preferences[name]));
    }
    document.querySelector("#film [data-action=beside]")?.setAttribute("aria-pressed", String(Boolean(this.pane)));
  }

  close() {
    this.#opening += 1;
    this.#end();
    this.root?.remove();
    this.root = null;
    document.body.classList.remove("two-films");
    this.activate(this.main);
    this.#press();
  }

  #end() {
    this.#links?.close();
    this.pane?.viewer.close();
    this.pane?.tools.close();
    this.pane = this.#links = null;
    if (this.active !== this.main) this.active = this.main;
  }

  /** @param {string} name  @param {string} text */
  #out(name, text) { this.root.querySelector(`[data-beside=${name}]`).textContent = text; }

  /** How the picture beside is shown, for what was seen; null where there is none. */
  state() { return this.pane?.viewer.state() ?? null; }

  /** The picture beside as it was.
      @param {import("../viewer/view_state.js").ViewState | null} state */
  async restore(state) {
    if (!state) { if (this.pane) this.close(); return; }
    if (this.pane?.viewer.info.picture !== state.picture) await this.open(state.picture);
    if (this.pane?.viewer.info.picture !== state.picture) return; // not there any more
    const { viewer } = this.pane;
    this.#links.close(); // as it was, not as the other one is
    viewer.restore(state);
    await this.#loading;
    if (!viewer.closed) viewer.restore(state); // with the layers that have come since
  }
}
