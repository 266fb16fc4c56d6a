// Upload: files are sent three at a time with progress, then each row shows its case's state until the
// result is there. A refused file shows the reason; after a network failure it is sent again.

import { csrfToken, isTyping, keyOf, renewToken } from "./base.js";
import { filesOf } from "./upload/dropped.js";
import { FileRow, FollowedRow } from "./upload/row.js";
import { getJson, poll } from "./poll.js";
import { _, ngettext, numberText } from "./language.js";

/** A file of a ZIP: `detail` says why it was refused.
    @typedef {import("./upload/row.js").Received & {
      name: string, outcome: string, detail: string | null,
    }} Unpacked */

const AT_ONCE = 3;
const TRIES = [1000, 3000, 8000];
// Refusals of the view, which lists them itself; other 413 come before it, or from a proxy.
const NOTED = ["too_large", "archive_too_large"];

const form = /** @type {HTMLFormElement} */ (document.getElementById("upload"));
const list = document.getElementById("files-list");
/** @type {FileRow<import("./upload/row.js").Named>[]} */
const rows = [];
// What was sent before this page was opened, as the server lists it.
const before = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#recent .file"))]
  .map((element) => new FollowedRow(element, element.dataset.id));
/** @type {FileRow<File>[]} */
const waiting = [];
let sending = 0;

/** @param {File[]} files */
function add(files) {
  for (const file of files) {
    /** @type {FileRow<File>} */
    const row = new FileRow(file, list, () => enqueue(row));
    row.stated = stated();
    rows.push(row);
    const zip = isZip(file);
    const [most, mb] = zip ? [form.dataset.maxArchiveBytes, form.dataset.maxArchiveMb] : [form.dataset.maxBytes, form.dataset.maxMb];
    if (file.size > Number(most)) { row.refuse(_("The file is larger than %(megabytes)s MB.", { megabytes: mb })); noteTurnedAway(row, "too_large"); }
    else enqueue(row);
  }
  form.classList.toggle("busy", rows.length > 0);
  summary();
}

/** What is stated beside a file as it is added: whose picture it is, and that it comes from an archive.
    @returns {[string, string][]} */
function stated() {
  const found = [];
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && value && name !== "csrf_token") found.push(/** @type {[string, string]} */ ([name, value]));
  }
  return found;
}

/** @param {File} file */
function isZip(file) { return /\.zip$/i.test(file.name); }

// So that the row is listed after a reload as well, like files that the server has refused: of this
// one it did not read the name.
/** @param {FileRow<File>} row  @param {"too_large" | "quota"} why */
async function noteTurnedAway(row, why) {
  const note = () => fetch(form.dataset.turnedAwayUrl, {
    method: "POST", headers: { "X-CSRFToken": csrfToken(), "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ name: row.file.name, archive: isZip(row.file), why }),
  }).catch(/** @returns {null} */ () => null);
  const answer = await note();
  if (answer?.status === 400 && await renewToken()) await note();
}

/** @param {FileRow<File>} row */
function enqueue(row) {
  row.wait();
  waiting.push(row);
  pump();
}

function pump() {
  while (sending < AT_ONCE && waiting.length) {
    sending += 1;
    send(waiting.shift()).finally(() => { sending -= 1; summary(); pump(); });
  }
  summary();
}

/** @param {FileRow<File>} row */
async function send(row) {
  for (let turn = 0; ; turn += 1) {
    const answer = await transfer(row);
    if (answer.status === 202) {
      if (answer.body.files) unpack(row, answer.body.files);
      else row.received(answer.body);
      live.now();
      return;
    }
    if (answer.status === 400 && answer.body?.code === "csrf" && turn === 0 && await renewToken()) continue;
    if (answer.status === 401) {
      document.dispatchEvent(new Event("session-lost"));
      row.lost(_("You were signed out. Sign in again, then retry."));
      return;
    }
    const again = [0, 429, 502, 503, 504].includes(answer.status) && turn < TRIES.length;
    if (!again) {
      if (answer.status === 0) row.lost(_("The portal cannot be reached."));
      else if (answer.status >= 500 || answer.status === 429) row.lost(answer.body?.detail || _("The portal cannot accept uploads at the moment."));
      else row.refuse(answer.body?.detail || _("The file was refused."));
      if (answer.status === 429) noteTurnedAway(row, "quota");
      if (answer.status === 413 && !NOTED.includes(answer.body?.code)) noteTurnedAway(row, "too_large");
      return;
    }
    row.pause(answer.status === 0 ? _("No connection, trying again …") : _("The portal is busy, trying again …"));
    await new Promise((go) => setTimeout(go, TRIES[turn]));
  }
}

// The files of a ZIP in their order, each a row below it.
/** @param {FileRow<File>} row  @param {Unpacked[]} files */
function unpack(row, files) {
  row.unpacked(files.length);
  /** @type {FollowedRow} */
  let above = row;
  for (const file of files) {
    const inner = new FileRow({ name: `${row.file.name} / ${file.name}` }, list, null, above);
    if (file.outcome === "refused") inner.refuse(file.detail);
    else if (file.outcome === "skipped") inner.skip();
    else inner.received(file);
    rows.push(inner);
    above = inner;
  }
}

/** @param {FileRow<File>} row  @returns {Promise<{ status: number, body: any }>} */
function transfer(row) {
  return new Promise((done) => {
    const body = new FormData();
    for (const [name, value] of row.stated) body.append(name, value);
    body.append("file", row.file, row.file.name);
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => row.progress(event.loaded / event.total));
    request.addEventListener("loadend", () => {
      let answer = null;
      try { answer = JSON.parse(request.responseText); } catch { /* a proxy's page, or empty */ }
      done({ status: request.status, body: answer });
    });
    row.progress(0);
    request.send(body);
  });
}

function summary() {
  /** @param {string[]} states */
  const count = (...states) => rows.filter((row) => states.includes(row.state)).length;
  const files = rows.length - count("unpacked");
  const parts = [ngettext("%(num)s file", "%(num)s files", files)];
  /** @param {number} number  @param {string} text  `%(count)s` in it is the number */
  const addPart = (number, text) => { if (number) parts.push(text.replace("%(count)s", numberText(number))); };
  addPart(count("waiting", "sending"), _("%(count)s in progress"));
  addPart(count("received", "done"), _("%(count)s received"));
  addPart(count("known"), _("%(count)s already known"));
  addPart(count("refused"), _("%(count)s refused"));
  addPart(count("skipped"), _("%(count)s skipped"));
  addPart(count("lost"), _("%(count)s not sent"));
  document.getElementById("sum").hidden = rows.length === 0;
  const text = parts.join(" · ");
  const place = document.getElementById("sum-text");
  if (place.textContent !== text) place.textContent = text;
}

const live = poll(async () => {
  const open = [...rows, ...before].filter((row) => row.follows).slice(0, 100);
  if (open.length === 0) return 3000;
  const answer = await getJson(`${form.dataset.stateUrl}?ids=${open.map((row) => row.id).join(",")}`);
  for (const row of open) if (answer.rows[row.id]) row.show(answer.rows[row.id]);
  summary();
  return 1500;
}, 1000, (failures) => trouble(failures > 1 ? _("The portal cannot be reached; results will appear later.") : ""));

/** @param {string} text */
function trouble(text) {
  const place = document.getElementById("trouble");
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}

function wireChoosing() {
  document.getElementById("plain-send").hidden = true;
  for (const id of ["files", "folder"]) {
    const input = /** @type {HTMLInputElement} */ (document.getElementById(id));
    input.hidden = false;
    input.addEventListener("change", () => { add([...input.files].filter((f) => !f.name.startsWith("."))); input.value = ""; });
  }
  document.getElementById("folder-label").hidden = !("webkitdirectory" in document.createElement("input"));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear-done").addEventListener("click", () => {
    for (const row of rows.filter((r) => ["done", "known", "refused", "skipped", "unpacked"].includes(r.state))) {
      row.element.remove();
      rows.splice(rows.indexOf(row), 1);
    }
    form.classList.toggle("busy", rows.length > 0);
    summary();
  });
  document.addEventListener("keydown", (event) => {
    if (keyOf(event) !== "o" || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    document.getElementById("files").click();
  });
}

function wireStated() {
  const fields = /** @type {NodeListOf<HTMLInputElement | HTMLSelectElement>} */ (document.querySelectorAll("#stated input, #stated select"));
  const clear = /** @type {HTMLButtonElement} */ (document.getElementById("clear-stated"));
  const [id, name] = fields;
  // Seen also where the fields are folded away: what is typed goes with the next patient's files, too.
  const look = () => {
    clear.hidden = ![...fields].some((field) => field.value);
    document.getElementById("stated-now").textContent = [id.value, name.value].filter(Boolean).join(" · ");
  };
  look();
  document.getElementById("stated").addEventListener("input", look);
  clear.addEventListener("click", () => { for (const field of fields) field.value = ""; look(); fields[0].focus(); });
}

function wireDropping() {
  let depth = 0;
  /** @param {boolean} on */
  const over = (on) => form.classList.toggle("over", on);
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; over(false); } });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    add(await filesOf(event.dataTransfer));
  });
}

addEventListener("beforeunload", (event) => { if (sending || waiting.length) event.preventDefault(); });
wireChoosing();
wireStated();
wireDropping();
