// The dropped files, those inside dropped folders included. Hidden files are skipped.

/** A dropped file or folder.
    @typedef {FileSystemEntry & Partial<FileSystemFileEntry & FileSystemDirectoryEntry>} Entry */

/** @param {FileSystemDirectoryReader} reader  @returns {Promise<Entry[]>} */
function readAll(reader) {
  return new Promise((done) => {
    /** @type {Entry[]} */
    const found = [];
    const more = () => reader.readEntries((part) => {
      if (part.length === 0) { done(found); return; }
      found.push(...part);
      more();
    }, () => done(found));
    more();
  });
}

/** @param {Entry} entry  @param {File[]} found */
async function walk(entry, found) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    /** @type {File | null} */
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    if (file) found.push(file);
  } else {
    for (const inner of await readAll(entry.createReader())) await walk(inner, found);
  }
}

/** All files of a drop, folders opened, in their order.
    @param {DataTransfer} transfer  @returns {Promise<File[]>} */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  /** @type {File[]} */
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}
