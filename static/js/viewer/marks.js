// What stands on the film beside picture and overlay: the box of a window, the corners of a polygon, the patient's
// sides.

/** @typedef {import("./geometry.js").Line} Line */
/** @typedef {{ text: string, x: number, y: number }} Side  in CSS pixels of the film */

/** The box that the reader draws for a window.
    @param {CanvasRenderingContext2D} context  @param {Line} area
    @param {number} pixel  of the source for one of CSS  @param {string} colour */
export function drawArea(context, [x0, y0, x1, y1], pixel, colour) {
  for (const [width, stroke] of /** @type {const} */ ([[3, "rgb(0 0 0 / 55%)"], [1, colour]])) {
    context.lineWidth = width * pixel;
    context.strokeStyle = stroke;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}

/** A polygon that is not closed yet.
    @param {CanvasRenderingContext2D} context  @param {import("./geometry.js").Point[]} corners
    @param {number} pixel  @param {string} colour */
export function drawCorners(context, corners, pixel, colour) {
  const path = new Path2D();
  corners.forEach(({ x, y }, k) => (k ? path.lineTo(x, y) : path.moveTo(x, y)));
  for (const { x, y } of corners) path.rect(x - 2 * pixel, y - 2 * pixel, 4 * pixel, 4 * pixel);
  for (const [width, stroke] of /** @type {const} */ ([[4, "rgb(0 0 0 / 55%)"], [1.5, colour]])) {
    context.lineWidth = width * pixel;
    context.strokeStyle = stroke;
    context.stroke(path);
  }
}

/** The patient's side at both edges of the picture, in the surround where there is room.
    @param {CanvasRenderingContext2D} context  @param {Side[]} sides  @param {number} ratio */
export function drawSides(context, sides, ratio) {
  context.font = `600 ${16 * ratio}px system-ui, sans-serif`;
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgb(0 0 0 / 70%)";
  context.fillStyle = "#aab0b8";
  for (const { text, x, y } of sides) {
    context.strokeText(text, x * ratio, y * ratio);
    context.fillText(text, x * ratio, y * ratio);
  }
}

/** Where the sides stand: at the right and left edges of the film, or at its top and bottom where the picture was
    turned.
    @param {import("./geometry.js").Geometry} geometry  @param {"R" | "L" | "R?" | "" | null} leftSide
    @returns {Side[]} */
export function sidesOf(geometry, leftSide) {
  if (!leftSide) return [];
  const other = { "R": "L", "L": "R", "R?": "L?" }[leftSide];
  const { x: u, y: v } = geometry.toShown({ x: 0, y: geometry.rows / 2 });
  const isFirst = geometry.turn % 2 ? v === 0 : u === 0;
  const [first, last] = isFirst ? [leftSide, other] : [other, leftSide];
  const right = geometry.x + geometry.across * geometry.scale;
  const bottom = geometry.y + geometry.down * geometry.scale;
  if (geometry.turn % 2) {
    const x = Math.min(Math.max((geometry.x + right) / 2, geometry.inset.left + 6), geometry.width - 30);
    return [
      { text: first, x, y: Math.max(20, geometry.y - 8) },
      { text: last, x, y: Math.min(geometry.height - 8, bottom + 20) },
    ];
  }
  const y = Math.min(Math.max(geometry.y + 26, 26), geometry.height - 12);
  return [
    { text: first, x: Math.max(geometry.inset.left + 6, geometry.x - 22), y },
    { text: last, x: Math.min(geometry.width - (last.length > 1 ? 30 : 20), right + 8), y },
  ];
}
