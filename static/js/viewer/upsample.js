// The server's arithmetic for masks (ml.inference.outline.mask), repeated to the pixel: the probability map
// (bytes) is enlarged to the picture in 32-bit floats, bilinearly (half-pixel centres, clamped at the
// edges, first along the rows, then down the columns), and a pixel is inside when its value is at
// least threshold × 255.

const f = Math.fround;

/** @typedef {{ low: Int32Array, high: Int32Array, part: Float32Array }} Taps */

/** For each of `length` pixels the two of `cells` that it lies between, and the second one’s share.
    @param {number} cells  @param {number} length  @returns {Taps} */
export function taps(cells, length) {
  const low = new Int32Array(length);
  const high = new Int32Array(length);
  const part = new Float32Array(length);
  const scale = cells / length;
  for (let i = 0; i < length; i += 1) {
    const at = f((i + 0.5) * scale - 0.5);
    let whole = Math.floor(at);
    let share = f(at - whole);
    if (whole < 0) { whole = 0; share = 0; }
    if (whole >= cells - 1) { whole = cells - 1; share = 0; }
    low[i] = whole;
    high[i] = Math.min(whole + 1, cells - 1);
    part[i] = share;
  }
  return { low, high, part };
}

/** @param {Uint8Array} map  @param {number} offset  @param {Taps} across
    @param {Float32Array} out */
function stretchRow(map, offset, across, out) {
  for (let x = 0; x < out.length; x += 1) {
    const share = across.part[x];
    out[x] = f(f(map[offset + across.low[x]] * f(1 - share)) + f(map[offset + across.high[x]] * share));
  }
}

/** The mask of a map at a threshold: a byte for each source pixel, 1 inside.
    @param {Uint8Array} map  @param {number} rows  @param {number} columns
    @param {number} sourceRows  @param {number} sourceColumns  @param {number} threshold */
export function maskAt(map, rows, columns, sourceRows, sourceColumns, threshold) {
  const level = f(threshold * 255);
  const across = taps(columns, sourceColumns);
  const down = taps(rows, sourceRows);
  const mask = new Uint8Array(sourceRows * sourceColumns);
  const reaches = new Uint8Array(rows); // rows of the map that hold nothing high enough cost nothing
  for (let row = 0; row < rows; row += 1) reaches[row] = map.subarray(row * columns, (row + 1) * columns).some((value) => value >= level) ? 1 : 0;
  /** @type {Map<number, Float32Array>} */
  const wide = new Map();
  /** @param {number} row */
  const stretched = (row) => {
    if (!wide.has(row)) {
      for (const old of wide.keys()) if (old < row - 1) wide.delete(old);
      const line = new Float32Array(sourceColumns);
      stretchRow(map, row * columns, across, line);
      wide.set(row, line);
    }
    return wide.get(row);
  };
  for (let y = 0; y < sourceRows; y += 1) {
    if (!reaches[down.low[y]] && !reaches[down.high[y]]) continue;
    const upper = stretched(down.low[y]);
    const lower = stretched(down.high[y]);
    const share = down.part[y];
    const rest = f(1 - share);
    const line = y * sourceColumns;
    for (let x = 0; x < sourceColumns; x += 1) {
      if (f(f(upper[x] * rest) + f(lower[x] * share)) >= level) mask[line + x] = 1;
    }
  }
  return mask;
}

/** For each threshold (ascending, 0…1) the number of source pixels at or above it.
    @param {Uint8Array} map  @param {number} rows  @param {number} columns
    @param {number} sourceRows  @param {number} sourceColumns  @param {number[]} thresholds */
export function countAtThresholds(map, rows, columns, sourceRows, sourceColumns, thresholds) {
  const levels = Float32Array.from(thresholds, (threshold) => threshold * 255);
  // First level that a whole value may fail to reach, so that most pixels need one comparison.
  const start = new Int32Array(257);
  for (let value = 0, k = 0; value <= 256; value += 1) {
    while (k < levels.length && levels[k] <= value) k += 1;
    start[value] = k;
  }
  const reached = new Float64Array(levels.length + 1);
  const across = taps(columns, sourceColumns);
  const down = taps(rows, sourceRows);
  let upper = new Float32Array(sourceColumns);
  let lower = new Float32Array(sourceColumns);
  let upperRow = -1;
  let lowerRow = -1;
  for (let y = 0; y < sourceRows; y += 1) {
    if (down.low[y] !== upperRow) {
      if (down.low[y] === lowerRow) { [upper, lower] = [lower, upper]; lowerRow = -1; }
      else stretchRow(map, down.low[y] * columns, across, upper);
      upperRow = down.low[y];
    }
    if (down.high[y] !== lowerRow) {
      stretchRow(map, down.high[y] * columns, across, lower);
      lowerRow = down.high[y];
    }
    const share = down.part[y];
    const rest = f(1 - share);
    for (let x = 0; x < sourceColumns; x += 1) {
      const value = f(f(upper[x] * rest) + f(lower[x] * share));
      let k = start[value | 0];
      while (k < levels.length && levels[k] <= value) k += 1;
      reached[k] += 1;
    }
  }
  const counts = new Float64Array(levels.length);
  let above = 0;
  for (let k = levels.length; k > 0; k -= 1) {
    above += reached[k];
    counts[k - 1] = above;
  }
  return counts;
}
