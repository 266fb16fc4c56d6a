// One run of Lighthouse. What to look at comes as JSON by standard input (lighthouse.py):
//
//     {"url": …, "form": "desktop" | "mobile", "categories": […], "cookies": […], "chromium": PATH}
//
// To standard output go the scores (0 to 100), numbers of the load, and the audits that found a fault.

import process from "node:process";
import { text } from "node:stream/consumers";
import lighthouse, { desktopConfig } from "lighthouse";
import puppeteer from "puppeteer-core";

const METRICS = ["first-contentful-paint", "largest-contentful-paint", "speed-index", "total-blocking-time", "cumulative-layout-shift"];

/** What the page's scripts weigh, as they are and as they were sent. */
function scriptBytes(requests) {
  const scripts = requests.filter((one) => one.resourceType === "Script");
  const sum = (name) => scripts.reduce((all, one) => all + (one[name] ?? 0), 0);
  return { scripts: scripts.length, "script-bytes": sum("resourceSize"), "script-bytes-sent": sum("transferSize") };
}

const asked = JSON.parse(await text(process.stdin));
const browser = await puppeteer.launch({
  executablePath: asked.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  await browser.setCookie(...asked.cookies);
  const page = await browser.newPage();
  const settings = { output: "json", logLevel: "error", onlyCategories: asked.categories };
  const { lhr } = await lighthouse(asked.url, settings, asked.form === "desktop" ? desktopConfig : undefined, page);
  if (lhr.runtimeError) throw new Error(lhr.runtimeError.message);
  const report = { url: lhr.finalDisplayedUrl, version: lhr.lighthouseVersion, scores: {}, metrics: {}, faults: {} };
  for (const [name, category] of Object.entries(lhr.categories)) {
    report.scores[name] = Math.round(category.score * 100);
    for (const { id } of category.auditRefs) {
      const audit = lhr.audits[id];
      const isFault = audit.score !== null && audit.score < 0.9 && !METRICS.includes(id);
      if (isFault) report.faults[id] = audit.displayValue || audit.title;
    }
  }
  for (const id of METRICS) if (lhr.audits[id]) report.metrics[id] = lhr.audits[id].numericValue;
  const requests = lhr.audits["network-requests"]?.details?.items;
  if (requests) Object.assign(report.metrics, scriptBytes(requests));
  process.stdout.write(JSON.stringify(report));
} finally {
  await browser.close();
}
