// Web worker: counts the source pixels at or above each of the given thresholds, once when the map
// arrives, so that the slider only looks numbers up.

import { countAtThresholds } from "./upsample.js";

self.addEventListener("message", (event) => {
  const { map, rows, columns, sourceRows, sourceColumns, thresholds } = event.data;
  self.postMessage(countAtThresholds(map, rows, columns, sourceRows, sourceColumns, thresholds));
});
