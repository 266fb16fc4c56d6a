// Random edits of a mask, all undone and all done again: run by tests/test_editor.py.
// usage: node editor_sequences.mjs FIRST COUNT. Prints one line of JSON.

import { createHash } from "node:crypto";

import { History } from "../static/js/editor/history.js";
import { Mask } from "../static/js/editor/mask.js";
import { decode, encode } from "../static/js/editor/runs.js";

const [first, count] = process.argv.slice(2).map(Number);

/** A small generator with a seed (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const hash = (mask) => createHash("sha256").update(encode(mask.data)).digest("hex");

function run(seed) {
  const next = random(seed);
  const rows = 20 + Math.floor(next() * 180);
  const columns = 20 + Math.floor(next() * 180);
  const begin = new Uint8Array(rows * columns);
  if (next() < 0.7) for (let i = 0; i < 3; i += 1) begin.fill(1, Math.floor(next() * begin.length), Math.floor(next() * begin.length));
  const mask = new Mask(begin, rows, columns);
  const history = new History(mask);
  const start = hash(mask);
  const place = () => ({ x: next() * (columns + 20) - 10, y: next() * (rows + 20) - 10 });
  let steps = 0;
  for (let edit = 0, edits = 3 + Math.floor(next() * 40); edit < edits; edit += 1) {
    const kind = Math.floor(next() * 9);
    if (kind < 4) {
      const [rx, ry] = [next() ** 2 * 30 + 0.01, next() ** 2 * 30 + 0.01];
      let at = place();
      for (let moves = 0; moves < 6; moves += 1) {
        const to = { x: at.x + (next() - 0.5) * 30, y: at.y + (next() - 0.5) * 30 };
        mask.stroke(at, to, rx, ry, kind % 2);
        at = to;
      }
    } else if (kind === 4) mask.polygon(Array.from({ length: 3 + Math.floor(next() * 6) }, place));
    else if (kind === 5) { if (!mask.fill(place())) mask.revert(); }
    else if (kind === 6) { if (!mask.removeRegion(place())) mask.revert(); }
    else if (kind === 7) mask.replace(new Uint8Array(mask.data.length).map(() => (next() < 0.02 ? 1 : 0)));
    else if (next() < 0.5) { if (history.undo()) steps -= 1; } else if (history.redo()) steps += 1;
    if (kind < 8 && history.commit()) steps += 1;
  }
  const end = hash(mask);
  const problems = [];
  let undone = 0;
  while (history.undo()) undone += 1;
  if (undone !== steps) problems.push(`${undone} of ${steps} undone`);
  if (hash(mask) !== start) problems.push("not as it began");
  for (let i = 0; i < undone; i += 1) history.redo();
  if (hash(mask) !== end) problems.push("not as it ended");
  if (!decode(encode(mask.data), mask.data.length).every((value, i) => value === mask.data[i])) problems.push("does not come back");
  return problems.map((text) => `${seed}: ${text}`);
}

// The same shapes, one pixel after the other.

function toSegment(p, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, ((p.x - a.x) * dx + (p.y - a.y) * dy) / length)) : 0;
  return Math.hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

function insidePolygon(p, corners) {
  let inside = false;
  corners.forEach((a, k) => {
    const b = corners[(k + 1) % corners.length];
    if ((a.y <= p.y) !== (b.y <= p.y) && p.x < a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x)) inside = !inside;
  });
  return inside;
}

/** The pixels of the same value that are joined to one. */
function region(data, rows, columns, x, y, byCorners) {
  const seen = new Set([y * columns + x]);
  for (const pixel of seen) {
    const [row, column] = [Math.floor(pixel / columns), pixel % columns];
    for (let dy = -1; dy <= 1; dy += 1) {
      for (let dx = -1; dx <= 1; dx += 1) {
        if ((!byCorners && dx && dy) || row + dy < 0 || row + dy >= rows || column + dx < 0 || column + dx >= columns) continue;
        const other = (row + dy) * columns + column + dx;
        if (data[other] === data[pixel]) seen.add(other);
      }
    }
  }
  return seen;
}

function shapes(seed) {
  const next = random(seed ^ 0x9e3779b9);
  const [rows, columns] = [10 + Math.floor(next() * 40), 10 + Math.floor(next() * 40)];
  const place = () => ({ x: next() * (columns + 10) - 5, y: next() * (rows + 10) - 5 });
  const problems = [];
  const compare = (name, mask, expected) => {
    for (let k = 0; k < mask.data.length; k += 1) {
      const wanted = expected({ x: k % columns + 0.5, y: Math.floor(k / columns) + 0.5 }, k);
      if (wanted !== null && Boolean(mask.data[k]) !== wanted) { problems.push(`${seed}: ${name} at ${k}`); return; }
    }
  };
  const [a, b, rx, ry] = [place(), place(), 0.6 + next() * 12, 0.6 + next() * 12];
  const stroke = new Mask(new Uint8Array(rows * columns), rows, columns);
  stroke.stroke(a, b, rx, ry, 1);
  const wide = ({ x, y }) => ({ x, y: y * rx / ry });
  compare("stroke", stroke, (p) => {
    const distance = toSegment(wide(p), wide(a), wide(b));
    return Math.abs(distance - rx) < 1e-6 || distance > rx && Math.min(Math.hypot(p.x - a.x, p.y - a.y), Math.hypot(p.x - b.x, p.y - b.y)) < 1 ? null : distance < rx;
  });
  const corners = Array.from({ length: 3 + Math.floor(next() * 6) }, place);
  const polygon = new Mask(new Uint8Array(rows * columns), rows, columns);
  polygon.polygon(corners);
  compare("polygon", polygon, (p) => insidePolygon(p, corners));
  for (const removes of [true, false]) {
    const begin = new Uint8Array(rows * columns).map(() => (next() < (removes ? 0.5 : 0.6) ? 1 : 0));
    const [x, y] = [Math.floor(next() * columns), Math.floor(next() * rows)];
    begin[y * columns + x] = removes ? 1 : 0;
    const found = region(begin, rows, columns, x, y, removes);
    const isEnclosed = ![...found].some((k) => k % columns === 0 || k % columns === columns - 1 || k < columns || k >= begin.length - columns);
    const mask = new Mask(begin.slice(), rows, columns);
    const done = removes ? mask.removeRegion({ x, y }) : mask.fill({ x, y });
    if (done !== (removes || isEnclosed)) problems.push(`${seed}: ${removes ? "region" : "gap"} ${done}`);
    compare(removes ? "region" : "gap", mask, (_, k) => (done && found.has(k) ? !removes : begin[k] === 1));
  }
  return problems;
}

const wrong = [];
for (let seed = first; seed < first + count; seed += 1) wrong.push(...run(seed), ...shapes(seed));
process.stdout.write(JSON.stringify({ sequences: count, wrong }));
