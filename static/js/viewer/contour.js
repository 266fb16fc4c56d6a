// The outline of a probability map at one level, by marching squares with linear interpolation.
// Grid values sit at half-pixel centres and are clamped towards the edges, as the server's bilinear
// upsampling does, and the outline closes along the picture's edge.

/** @typedef {{ values: Int16Array, w: number, h: number }} Grid  a padded map */

/** The map with its edge values repeated at the picture's border and -1 beyond.
    @param {Uint8Array} map  @param {number} rows  @param {number} columns  @returns {Grid} */
export function padded(map, rows, columns) {
  const w = columns + 4;
  const h = rows + 4;
  const values = new Int16Array(w * h).fill(-1);
  for (let j = 1; j < h - 1; j += 1) {
    const row = Math.min(rows - 1, Math.max(0, j - 2)) * columns;
    for (let i = 1; i < w - 1; i += 1) {
      values[j * w + i] = map[row + Math.min(columns - 1, Math.max(0, i - 2))];
    }
  }
  return { values, w, h };
}

/** Flat rings [x0, y0, x1, y1, …] in source pixels around all of a padded map that is >= level.
    @param {Grid} grid  @param {number} level  @param {number} sourceRows
    @param {number} sourceColumns  @returns {number[][]} */
export function rings(grid, level, sourceRows, sourceColumns) {
  const { values, w, h } = grid;
  const xs = positions(w - 4, sourceColumns);
  const ys = positions(h - 4, sourceRows);
  // Edge 2 * (j * w + i) runs from grid point (i, j) to the right, the odd one down.
  /** @type {Map<number, number>} */
  const next = new Map();
  for (let j = 0; j < h - 1; j += 1) {
    let a = -1;
    let d = -1;
    for (let i = 0, k = j * w + 1; i < w - 1; i += 1, k += 1) {
      const b = values[k];
      const c = values[k + w];
      const kind = (a >= level ? 8 : 0) | (b >= level ? 4 : 0) | (c >= level ? 2 : 0) | (d >= level ? 1 : 0);
      if (kind !== 0 && kind !== 15) link(next, kind, i, j, w, (a + b + c + d) / 4 >= level);
      a = b;
      d = c;
    }
  }
  return trace(next, values, xs, ys, w, level);
}

/** @param {number} cells  @param {number} length */
function positions(cells, length) {
  const out = new Float64Array(cells + 4);
  const size = length / cells;
  for (let i = 0; i < cells; i += 1) out[i + 2] = (i + 0.5) * size;
  out[cells + 2] = length;
  out[cells + 3] = length;
  return out;
}

// Directed pieces through a cell, the inside on the left: [from, to] of T, R, B, L.
const T = 0, R = 1, B = 2, L = 3;
/** @type {Record<number, [from: number, to: number][]>} */
const PIECES = {
  1: [[B, L]], 2: [[R, B]], 3: [[R, L]], 4: [[T, R]], 6: [[T, B]], 7: [[T, L]], 8: [[L, T]],
  9: [[B, T]], 11: [[R, T]], 12: [[L, R]], 13: [[B, R]], 14: [[L, B]],
};

/** @param {Map<number, number>} next  @param {number} kind  @param {number} i  @param {number} j
    @param {number} w  @param {boolean} middleInside */
function link(next, kind, i, j, w, middleInside) {
  const cell = 2 * (j * w + i);
  const edges = [cell, cell + 3, cell + 2 * w, cell + 1];
  let pieces = PIECES[kind];
  if (kind === 5) pieces = middleInside ? [[T, L], [B, R]] : [[T, R], [B, L]];
  if (kind === 10) pieces = middleInside ? [[L, B], [R, T]] : [[L, T], [R, B]];
  for (const [from, to] of pieces) next.set(edges[from], edges[to]);
}

/** @param {Map<number, number>} next  @param {Int16Array} values  @param {Float64Array} xs
    @param {Float64Array} ys  @param {number} w  @param {number} level */
function trace(next, values, xs, ys, w, level) {
  const found = [];
  for (const start of next.keys()) {
    if (!next.has(start)) continue;
    const ring = [];
    let edge = start;
    while (next.has(edge)) {
      const to = next.get(edge);
      next.delete(edge);
      const point = edge >> 1;
      const i = point % w;
      const j = (point - i) / w;
      const down = edge & 1;
      const from = values[point];
      const until = values[point + (down ? w : 1)];
      const t = until === from ? 0.5 : (level - from) / (until - from);
      if (down) ring.push(xs[i], ys[j] + t * (ys[j + 1] - ys[j]));
      else ring.push(xs[i] + t * (xs[i + 1] - xs[i]), ys[j]);
      edge = to;
    }
    if (ring.length >= 6) found.push(ring);
  }
  return found;
}

/** Rings as one path, to be stroked or filled by the even-odd rule.
    @param {number[][]} list */
export function toPath(list) {
  const path = new Path2D();
  for (const ring of list) {
    path.moveTo(ring[0], ring[1]);
    for (let i = 2; i < ring.length; i += 2) path.lineTo(ring[i], ring[i + 1]);
    path.closePath();
  }
  return path;
}
