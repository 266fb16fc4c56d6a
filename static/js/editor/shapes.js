// Shapes as spans of pixels: span(row, first, end) is called once or more for each row that they meet.
// A pixel belongs to a shape that holds its centre; places are source pixels, as in viewer/geometry.js.

/** @typedef {import("../viewer/geometry.js").Point} Point */
/** @typedef {(row: number, first: number, end: number) => void} Span */

/** All that a round brush covers on its way from a to b: rx and ry are its half width and height.
    @param {Point} a  @param {Point} b  @param {number} rx  @param {number} ry
    @param {number} rows  @param {number} columns  @param {Span} span */
export function stroke(a, b, rx, ry, rows, columns, span) {
  const squeeze = rx / ry; // rows are measured so that the brush is a circle
  const [ax, ay, bx, by] = [a.x, a.y * squeeze, b.x, b.y * squeeze];
  const length = Math.hypot(bx - ax, by - ay);
  const nx = length ? -(by - ay) / length * rx : 0;
  const ny = length ? (bx - ax) / length * rx : 0;
  const top = Math.max(0, Math.floor(Math.min(a.y, b.y) - ry - 0.5));
  const bottom = Math.min(rows - 1, Math.ceil(Math.max(a.y, b.y) + ry - 0.5));
  for (let row = top; row <= bottom; row += 1) {
    const y = (row + 0.5) * squeeze;
    let low = Infinity;
    let high = -Infinity;
    for (const [x, at] of [[ax, ay], [bx, by]]) {
      const rest = rx * rx - (y - at) * (y - at);
      if (rest < 0) continue;
      low = Math.min(low, x - Math.sqrt(rest));
      high = Math.max(high, x + Math.sqrt(rest));
    }
    for (const side of [1, -1]) {
      const from = ay + side * ny;
      const to = by + side * ny;
      if (from === to || (y - from) * (y - to) > 0) continue;
      const x = ax + side * nx + (y - from) / (to - from) * (bx - ax);
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    clipped(row, low, high, columns, span);
  }
  for (const { x, y } of [a, b]) { // a brush finer than a pixel draws the one that it is on
    const row = Math.floor(y);
    const column = Math.floor(x);
    if (row >= 0 && row < rows && column >= 0 && column < columns) span(row, column, column + 1);
  }
}

/** The inside of a closed polygon, by the even-odd rule.
    @param {Point[]} corners  @param {number} rows  @param {number} columns
    @param {Span} span */
export function polygon(corners, rows, columns, span) {
  const ys = corners.map((corner) => corner.y);
  const top = Math.max(0, Math.floor(Math.min(...ys) - 0.5));
  const bottom = Math.min(rows - 1, Math.ceil(Math.max(...ys) - 0.5));
  for (let row = top; row <= bottom; row += 1) {
    const y = row + 0.5;
    /** @type {number[]} */
    const crossings = [];
    corners.forEach((p, k) => {
      const q = corners[(k + 1) % corners.length];
      if ((p.y <= y) !== (q.y <= y)) crossings.push(p.x + (y - p.y) / (q.y - p.y) * (q.x - p.x));
    });
    crossings.sort((one, other) => one - other);
    for (let k = 0; k + 1 < crossings.length; k += 2) clipped(row, crossings[k], crossings[k + 1], columns, span);
  }
}

/** @param {number} row  @param {number} low  @param {number} high  @param {number} columns
    @param {Span} span */
function clipped(row, low, high, columns, span) {
  const first = Math.max(0, Math.ceil(low - 0.5));
  const end = Math.min(columns, Math.floor(high - 0.5) + 1);
  if (first < end) span(row, first, end);
}
