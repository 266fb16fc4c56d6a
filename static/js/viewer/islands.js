// Regions of the probability map that reach a level and are smaller than the model's size floor: they
// are not outlined. The server's rule (ml.inference.outline.without_islands), repeated to the pixel.

import { taps } from "./upsample.js";

const f = Math.fround;

/** The cells of each region (8 neighbours) of fewer than `least` cells at or above the level.
    @param {Uint8Array} map  @param {number} rows  @param {number} columns  @param {number} level
    @param {number} least */
function islands(map, rows, columns, level, least) {
  const found = [];
  const seen = new Uint8Array(map.length);
  for (let start = 0; start < map.length; start += 1) {
    if (seen[start] || map[start] < level) continue;
    const cells = [start];
    seen[start] = 1;
    for (let k = 0; k < cells.length; k += 1) {
      const row = Math.floor(cells[k] / columns);
      const column = cells[k] % columns;
      for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y += 1) {
        for (let x = Math.max(0, column - 1); x <= Math.min(columns - 1, column + 1); x += 1) {
          const next = y * columns + x;
          if (!seen[next] && map[next] >= level) { seen[next] = 1; cells.push(next); }
        }
      }
    }
    if (cells.length < least) found.push(cells);
  }
  return found;
}

/** The map with its islands set to 0.
    @param {Uint8Array} map  @param {number} rows  @param {number} columns  @param {number} level
    @param {number} least */
export function withoutIslands(map, rows, columns, level, least) {
  if (!(least > 1)) return map;
  const small = islands(map, rows, columns, level, least);
  if (!small.length) return map;
  const kept = map.slice();
  for (const cells of small) for (const cell of cells) kept[cell] = 0;
  return kept;
}

/** How many source pixels at or above a threshold belong to islands.
    @param {Uint8Array} map  @param {number} rows  @param {number} columns
    @param {number} sourceRows  @param {number} sourceColumns  @param {number} threshold
    @param {number} least */
export function islandPixels(map, rows, columns, sourceRows, sourceColumns, threshold, least) {
  if (!(least > 1)) return 0;
  const level = f(threshold * 255);
  const across = taps(columns, sourceColumns);
  const down = taps(rows, sourceRows);
  let count = 0;
  for (const cells of islands(map, rows, columns, threshold * 255, least)) {
    const own = new Set(cells);
    const [top, bottom] = reach(down, cells.map((cell) => Math.floor(cell / columns)));
    const [left, right] = reach(across, cells.map((cell) => cell % columns));
    for (let y = top; y < bottom; y += 1) {
      const upper = down.low[y] * columns;
      const lower = down.high[y] * columns;
      for (let x = left; x < right; x += 1) {
        const corners = [upper + across.low[x], upper + across.high[x], lower + across.low[x], lower + across.high[x]];
        // What reaches the level between an island's cells and others is the island's: others are lower.
        if (corners.some((cell) => own.has(cell)) && between(map, corners, across.part[x], down.part[y]) >= level) count += 1;
      }
    }
  }
  return count;
}

/** The stretch of source pixels, first and end, that lie between any of these cells and their neighbours.
    @param {import("./upsample.js").Taps} taps  @param {number[]} cells */
function reach({ low, high }, cells) {
  const first = Math.min(...cells);
  const last = Math.max(...cells);
  let begin = 0;
  while (high[begin] < first) begin += 1;
  let end = begin;
  while (end < low.length && low[end] <= last) end += 1;
  return [begin, end];
}

/** The value between four cells: upper left, upper right, lower left, lower right.
    @param {Uint8Array} map  @param {number[]} corners  @param {number} share
    @param {number} downward */
function between(map, corners, share, downward) {
  const [a, b, c, d] = corners;
  const upper = f(f(map[a] * f(1 - share)) + f(map[b] * share));
  const lower = f(f(map[c] * f(1 - share)) + f(map[d] * share));
  return f(f(upper * f(1 - downward)) + f(lower * downward));
}
