// One file's row: waiting, sending with progress, then what became of it. A ZIP's files have rows of
// their own below it.

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1048576 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

export class FileRow {
  /** `again` is called when the person wants to send the file once more; it stands below `above`. */
  constructor(file, list, again, above = null) {
    this.file = file;
    this.again = again;
    this.id = null;
    this.element = document.getElementById("file-row").content.firstElementChild.cloneNode(true);
    this.element.querySelector("bdi").textContent = file.webkitRelativePath || file.name;
    this.element.querySelector(".file-size").textContent = above ? "" : size(file.size);
    this.said = this.element.querySelector(".file-said");
    this.doing = this.element.querySelector(".file-do");
    this.bar = this.element.querySelector(".file-bar");
    if (above) above.element.after(this.element); else list.append(this.element);
  }

  /** Whether the live page still has something to learn about it. */
  get follows() { return this.state === "received"; }

  get state() { return this.element.dataset.state; }

  #set(state, text, badge = "") {
    this.element.dataset.state = state;
    const place = document.createElement("span");
    place.className = badge ? `badge ${badge}` : "text";
    place.textContent = text;
    this.said.replaceChildren(place);
    this.doing.replaceChildren();
  }

  wait() { this.#set("waiting", "Waiting"); }

  pause(text) { this.#set("sending", text); this.bar.style.transform = "scaleX(0)"; }

  progress(share) {
    const text = share >= 1 ? "Checking" : `Sending ${Math.round(share * 100)} %`;
    if (this.state !== "sending") this.#set("sending", text);
    else this.said.firstElementChild.textContent = text;
    this.bar.style.transform = `scaleX(${share})`;
  }

  received({ id, url, duplicate, remark, case: number }) {
    this.id = id;
    if (remark) this.remark(remark);
    if (duplicate) this.#set("known", `Known already: case ${number}`, "dash");
    else this.#set("received", `Case ${number} received`, "ok");
    const link = document.createElement("a");
    link.className = "btn small";
    link.href = url;
    link.textContent = "Open";
    link.setAttribute("aria-label", `Open case ${number}`);
    this.doing.replaceChildren(link);
  }

  /** What has to be looked after though the file was taken; it stays when the result comes. */
  remark(text) {
    const place = document.createElement("span");
    place.className = "file-remark";
    place.textContent = text;
    this.element.append(place);
  }

  /** What the live page knows: `row` of /worklist/state. */
  show(row) {
    const template = document.createElement("template");
    template.innerHTML = row.html;
    const said = template.content.querySelector("[data-part=said]");
    const number = template.content.querySelector("[data-part=number]").textContent;
    if (row.found) said.append(` ${number}`);
    if (said.textContent !== this.said.textContent) {
      said.classList.add("fade-in");
      this.said.replaceChildren(said);
    }
    if (row.settled) this.element.dataset.state = "done";
  }

  /** A ZIP: what is in it stands below. */
  unpacked(count) { this.#set("unpacked", count === 1 ? "ZIP with 1 file" : `ZIP with ${count} files`); }

  skip() { this.#set("skipped", "Left out: not a picture"); }

  refuse(reason) { this.#set("refused", reason, "danger"); }

  lost(reason) {
    this.#set("lost", reason, "danger");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn small";
    button.textContent = "Try again";
    button.addEventListener("click", () => this.again());
    this.doing.replaceChildren(button);
  }
}
