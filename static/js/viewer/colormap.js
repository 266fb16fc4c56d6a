// The heat map's scale: viridis (van der Walt and Smith, 2015), perceptually even for every kind
// of colour vision, interpolated from nine of its points.

const POINTS = [
  [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
];

/** Red, green, blue of a share 0…1.
    @param {number} share */
export function colour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (POINTS.length - 1);
  const i = Math.min(Math.floor(at), POINTS.length - 2);
  return POINTS[i].map((value, c) => Math.round(value + (POINTS[i + 1][c] - value) * (at - i)));
}

/** Red, green, blue and alpha for every byte of a probability map: low values are transparent. */
export function heatTable() {
  const table = new Uint8ClampedArray(256 * 4);
  for (let value = 0; value < 256; value += 1) {
    const share = value / 255;
    const alpha = 190 * Math.min(1, Math.max(0, (share - 0.05) / 0.35));
    table.set([...colour(share), alpha], value * 4);
  }
  return table;
}

/** Paints the scale from left (0) to right (1) into a canvas.
    @param {HTMLCanvasElement} canvas */
export function paintLegend(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    context.fillStyle = `rgb(${colour(x / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
