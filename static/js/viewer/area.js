// Web worker: counts the source pixels at or above each of the given thresholds, once when the map
// arrives, so that the slider only looks numbers up.

import { islandPixels } from "./islands.js";
import { countAtThresholds } from "./upsample.js";

self.addEventListener("message", (event) => {
  /** @type {{
        map: Uint8Array, rows: number, columns: number, sourceRows: number, sourceColumns: number,
        thresholds: number[], least: number,
      }} */
  const { map, rows, columns, sourceRows, sourceColumns, thresholds, least } = event.data;
  const counts = countAtThresholds(map, rows, columns, sourceRows, sourceColumns, thresholds);
  thresholds.forEach((threshold, k) => {
    counts[k] -= islandPixels(map, rows, columns, sourceRows, sourceColumns, threshold, least);
  });
  self.postMessage(counts);
});
