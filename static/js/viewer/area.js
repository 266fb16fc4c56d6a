// Worker: how many source pixels lie at or above each of the given thresholds, counted once when
// the map arrives, so that the slider only looks numbers up and never waits.

import { countAtThresholds } from "./upsample.js";

self.addEventListener("message", (event) => {
  const { map, rows, columns, sourceRows, sourceColumns, thresholds } = event.data;
  self.postMessage(countAtThresholds(map, rows, columns, sourceRows, sourceColumns, thresholds));
});
