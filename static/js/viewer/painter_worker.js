// Web worker: draws one picture onto the film's canvas, beside the page, which keeps its time for hand and pen.

import { Painter } from "./painter.js";

/** @type {any} */
let painter = null;

// `name`: what the painter does, with what is `given`. Where there is a number, an answer goes back by it; an error of
// anything else is the worker's, which the page then replaces.
self.addEventListener("message", ({ data: { name, given, number } }) => {
  if (name === "start") painter = new Painter(.../** @type {[any, any, any, any, any]} */ (given));
  else if (number) answer(number, () => painter[name](...given));
  else painter[name](...given);
});

/** @param {number} number  @param {() => any} ask */
async function answer(number, ask) {
  try {
    const found = await ask();
    self.postMessage({ number, answer: found }, { transfer: found?.pixels ? [found.pixels.buffer] : [] });
  } catch {
    self.postMessage({ number, failed: true });
  }
}
