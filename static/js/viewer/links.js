// Two viewers whose views go together: what one does to its place or window, the other does too. Both are relative,
// because detectors differ: the zoom by the size that fits the film, the place by shares of the picture, the window
// by shares of the picture's own.

/** @typedef {import("./viewer.js").Viewer} Viewer */

export class Links {
  #following = false;

  /** @param {Viewer} one  @param {Viewer} other  @param {{ place: boolean, window: boolean }} links */
  constructor(one, other, links) {
    this.links = links;
    this.end = new AbortController();
    for (const [from, to] of /** @type {const} */ ([[one, other], [other, one]])) {
      const until = { signal: this.end.signal };
      from.addEventListener("moved", () => { if (this.links.place) this.#follow(() => place(from, to)); }, until);
      from.addEventListener("windowed", () => { if (this.links.window) this.#follow(() => grey(from, to)); }, until);
    }
  }

  /** What is linked now lies and looks alike at once.
      @param {Viewer} from  @param {Viewer} to */
  align(from, to) {
    if (this.links.place) this.#follow(() => place(from, to));
    if (this.links.window) this.#follow(() => grey(from, to));
  }

  close() { this.end.abort(); }

  /** @param {() => void} change */
  #follow(change) {
    if (this.#following) return; // the other's answer to this very change
    this.#following = true;
    change();
    this.#following = false;
  }
}

/** @param {Viewer} from  @param {Viewer} to */
function place({ geometry: a }, to) {
  const b = to.geometry;
  if (a.fitted) b.fit();
  else {
    // Shares of the shown pictures: one may be turned or mirrored.
    const middle = a.toShown(a.toPicture(a.width / 2, a.height / 2));
    const point = b.fromShown({ x: middle.x / a.across * b.across, y: middle.y / a.down * b.down });
    b.show(point.x, point.y, a.scale / a.fitScale() * b.fitScale());
  }
  to.moved();
}

/** @param {Viewer} from  @param {Viewer} to */
function grey({ windowing: a }, to) {
  const b = to.windowing;
  if (a.inverted !== b.inverted) b.invert();
  const width = a.width / a.first.width * b.first.width;
  b.set(b.first.centre + (a.centre - a.first.centre) / a.first.width * b.first.width, width);
  to.windowChanged();
}
