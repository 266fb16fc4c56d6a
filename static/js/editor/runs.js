// A mask as the lengths of its runs, as worker/contract/outline_runs.py has them: unsigned LEB128 numbers,
// how many pixels are outside, how many inside, and so on, row after row. A mask has one form alone.

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** @param {Uint8Array} data  0 and 1  @returns {Bytes} */
export function encode(data) {
  let out = new Uint8Array(4096);
  let length = 0;
  let at = 0;
  let inside = 0;
  do {
    const found = data.indexOf(1 - inside, at);
    const end = found < 0 ? data.length : found;
    let run = end - at;
    if (length + 5 > out.length) {
      const larger = new Uint8Array(2 * out.length);
      larger.set(out);
      out = larger;
    }
    while (run > 0x7f) { out[length++] = (run & 0x7f) | 0x80; run >>>= 7; }
    out[length++] = run;
    at = end;
    inside = 1 - inside;
  } while (at < data.length);
  return out.slice(0, length);
}

/** The mask of so many pixels; throws for bytes that are none.
    @param {Uint8Array} bytes  @param {number} size  @returns {Uint8Array} */
export function decode(bytes, size) {
  const data = new Uint8Array(size);
  let at = 0;
  let inside = false;
  let value = 0;
  let shift = 0;
  for (const byte of bytes) {
    value += (byte & 0x7f) * 2 ** shift;
    shift += 7;
    if (byte & 0x80) continue;
    if (at + value > size) throw new Error("the outline is larger than the picture");
    if (inside) data.fill(1, at, at + value);
    at += value;
    inside = !inside;
    value = shift = 0;
  }
  if (at !== size || shift) throw new Error("the outline does not fit the picture");
  return data;
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** @param {string} text  @returns {Bytes} */
export function fromBase64(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

/** In hexadecimal; null where the browser has none, as on a page that came unencrypted.
    @param {Bytes} bytes */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The rectangle around all that is inside; null where nothing is.
    @param {Uint8Array} data  @param {number} rows  @param {number} columns
    @returns {import("./mask.js").Rect | null} */
export function boxOf(data, rows, columns) {
  const start = data.indexOf(1);
  if (start < 0) return null;
  const top = Math.floor(start / columns);
  const bottom = Math.floor(data.lastIndexOf(1) / columns);
  let left = columns;
  let right = 0;
  for (let row = top; row <= bottom; row += 1) {
    const line = data.subarray(row * columns, (row + 1) * columns);
    const first = line.indexOf(1);
    if (first < 0) continue;
    left = Math.min(left, first);
    right = Math.max(right, line.lastIndexOf(1) + 1);
  }
  return [left, top, Math.max(right, left), Math.min(rows, bottom + 1)];
}
