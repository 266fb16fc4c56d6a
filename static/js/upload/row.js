// One file's row: waiting, sending with progress, then the outcome. A ZIP's files have rows of
// their own below it.

import { _, ngettext, numberText } from "../language.js";

/** What a row shows of a file: a File itself, or the name of one inside a ZIP.
    @typedef {{ name: string, size?: number, webkitRelativePath?: string }} Named */

/** The server's answer about an accepted file.
    @typedef {{
      id: string, url: string, duplicate: boolean, remark: string | null,
      case: string, patient: string | null,
    }} Received */

/** @param {number} bytes */
function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1048576 ? `${numberText(bytes / 1024, 0)} KB` : `${numberText(bytes / 1048576, 1)} MB`;
}

/** A row whose case's result is still to come: also one of an upload before, made by the server. */
export class FollowedRow {
  /** @param {import("../base.js").Part} element  @param {string | null} id */
  constructor(element, id = null) {
    this.element = element;
    this.id = id;
    this.status = element.querySelector(".file-status");
  }

  /** Whether a result is still to come. */
  get follows() { return this.state === "received"; }

  get state() { return this.element.dataset.state; }

  /** Shows the current state: `row` of /worklist/state.
      @param {import("../worklist.js").CaseState} row */
  show(row) {
    const template = document.createElement("template");
    template.innerHTML = row.html;
    const result = template.content.querySelector("[data-part=result]");
    const number = template.content.querySelector("[data-part=number]").textContent;
    if (row.found) result.append(` ${number}`);
    if (result.textContent !== this.status.textContent) {
      result.classList.add("fade-in");
      this.status.replaceChildren(result);
    }
    if (row.settled) this.element.dataset.state = "done";
  }
}

/** @template {Named} F */
export class FileRow extends FollowedRow {
  /** `again` is called to send the file once more; `above`: the row to put this one below.
      @param {F} file  @param {HTMLElement} list  @param {(() => void) | null} again
      @param {FollowedRow | null} above */
  constructor(file, list, again, above = null) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("file-row"));
    super(/** @type {HTMLElement} */ (template.content.firstElementChild.cloneNode(true)));
    this.file = file;
    /** @type {[string, string][]} */
    this.stated = [];
    this.again = again;
    this.element.querySelector("bdi").textContent = file.webkitRelativePath || file.name;
    this.element.querySelector(".file-size").textContent = above ? "" : size(file.size);
    /** @type {HTMLElement} */
    this.action = this.element.querySelector(".file-action");
    this.bar = /** @type {HTMLElement} */ (this.element.querySelector(".file-bar"));
    if (above) above.element.after(this.element); else list.append(this.element);
  }

  /** @param {string} state  @param {string} text */
  #set(state, text, badge = "") {
    this.element.dataset.state = state;
    const place = document.createElement("span");
    place.className = badge ? `badge ${badge}` : "text";
    place.textContent = text;
    this.status.replaceChildren(place);
    this.action.replaceChildren();
  }

  wait() { this.#set("waiting", _("Waiting")); }

  /** @param {string} text */
  pause(text) { this.#set("sending", text); this.bar.style.transform = "scaleX(0)"; }

  /** @param {number} share */
  progress(share) {
    const text = share >= 1 ? _("Checking") : _("Sending %(percent)s %%", { percent: Math.round(share * 100) });
    if (this.state !== "sending") this.#set("sending", text);
    else this.status.firstElementChild.textContent = text;
    this.bar.style.transform = `scaleX(${share})`;
  }

  /** @param {Received} answer */
  received({ id, url, duplicate, remark, case: number, patient }) {
    this.id = id;
    /** @type {HTMLElement} */
    const whose = this.element.querySelector(".file-case");
    const name = document.createElement("bdi");
    name.textContent = patient || _("No name in the file");
    whose.replaceChildren(`${number} · `, name);
    whose.hidden = false;
    if (remark) this.remark(remark);
    if (duplicate) this.#set("known", _("Already known: case %(number)s", { number }), "dash");
    else this.#set("received", _("Case %(number)s received", { number }), "ok");
    const link = document.createElement("a");
    link.className = "btn small";
    link.href = url;
    link.textContent = _("Open");
    link.setAttribute("aria-label", _("Open case %(number)s", { number }));
    this.action.replaceChildren(link);
  }

  /** A remark on an accepted file that needs attention; it stays when the result comes.
      @param {string} text */
  remark(text) {
    const place = document.createElement("span");
    place.className = "file-remark";
    place.textContent = text;
    this.element.append(place);
  }

  /** A ZIP: its files are listed below.
      @param {number} count */
  unpacked(count) { this.#set("unpacked", ngettext("ZIP with %(num)s file", "ZIP with %(num)s files", count)); }

  skip() { this.#set("skipped", _("Skipped: not a picture")); }

  /** @param {string} reason */
  refuse(reason) { this.#set("refused", reason, "danger"); }

  /** @param {string} reason */
  lost(reason) {
    this.#set("lost", reason, "danger");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn small";
    button.textContent = _("Try again");
    button.addEventListener("click", () => this.again());
    this.action.replaceChildren(button);
  }
}
