// The picture at full depth and at half sizes, each the mean of four pixels, so that a 20-megapixel
// film is sampled at the window's resolution and never aliases.

/** @typedef {{ data: Uint16Array, columns: number, rows: number }} Level */

// On the page clicks and keys are handled between stretches of work; a worker has none to wait for.
const yieldToEvents = () => (self.document ? new Promise((go) => setTimeout(go, 0)) : null);

/** @param {Level} level  @returns {Promise<Level>} */
async function half(level) {
  const { data, columns, rows } = level;
  const w = (columns + 1) >> 1;
  const h = (rows + 1) >> 1;
  const out = new Uint16Array(w * h);
  for (let y = 0; y < h; y += 1) {
    const top = 2 * y * columns;
    const bottom = Math.min(2 * y + 1, rows - 1) * columns;
    const whole = columns >> 1;
    let o = y * w;
    for (let x = 0; x < whole; x += 1, o += 1) {
      const i = 2 * x;
      out[o] = (data[top + i] + data[top + i + 1] + data[bottom + i] + data[bottom + i + 1] + 2) >> 2;
    }
    if ((y & 255) === 255) await yieldToEvents();
    if (whole < w) out[o] = (data[top + columns - 1] + data[bottom + columns - 1] + 1) >> 1;
  }
  return { data: out, columns: w, rows: h };
}

/** Levels 0, 1, 2 …: level k has a pixel for every 2^k × 2^k source pixels.
    @param {Uint16Array} data  @param {number} columns  @param {number} rows */
export async function buildPyramid(data, columns, rows) {
  const levels = [{ data, columns, rows }];
  while (Math.max(levels.at(-1).columns, levels.at(-1).rows) > 256) levels.push(await half(levels.at(-1)));
  return levels;
}

/** The level to sample at `step` source pixels per output pixel.
    @param {Level[]} levels  @param {number} step */
export function levelFor(levels, step) {
  const wanted = Math.floor(Math.log2(Math.max(step, 1)) + 0.4);
  return Math.min(levels.length - 1, Math.max(0, wanted));
}

/** Little-endian bytes to 16-bit pixels, copied only on a big-endian machine.
    @param {ArrayBuffer} buffer  @param {number} columns  @param {number} rows */
export function decodePixels(buffer, columns, rows) {
  if (buffer.byteLength !== columns * rows * 2) throw new Error("the pixels do not fit the picture");
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return new Uint16Array(buffer);
  const view = new DataView(buffer);
  const out = new Uint16Array(columns * rows);
  for (let i = 0; i < out.length; i += 1) out[i] = view.getUint16(2 * i, true);
  return out;
}
