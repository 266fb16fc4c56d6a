// A display shutter: what the sender hides of the picture is black until the reader asks for it.

export class Shutter {
  /** `polygons`: rings of [x, y] in source pixels; what is inside of all of them is shown.
      @param {import("./geometry.js").Corner[][] | null} polygons */
  constructor(polygons) {
    this.polygons = polygons ?? [];
    this.closed = this.polygons.length > 0;
  }

  /** Blackens what is outside, on a canvas whose transform leads from picture to canvas.
      @param {CanvasRenderingContext2D} context  @param {number} columns  @param {number} rows */
  draw(context, columns, rows) {
    if (!this.closed) return;
    context.fillStyle = "#000";
    for (const polygon of this.polygons) {
      const path = new Path2D();
      path.rect(-1, -1, columns + 2, rows + 2);
      polygon.forEach(([x, y], i) => { if (i) path.lineTo(x, y); else path.moveTo(x, y); });
      path.closePath();
      context.fill(path, "evenodd");
    }
  }
}
