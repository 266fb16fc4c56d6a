// Serves OHIF's `dist` and hands /dicom-web on to a DICOMweb server: node ohif.mjs DIST SERVER [ROOT]
//
// ROOT is where the server has its DICOMweb, /dicom-web unless given (Orthanc's). DICOMWEB_TOKEN in the environment is
// the bearer token that every request gets on its way: OHIF itself has none.
//
// As the viewer's own container does: text and WebAssembly compressed, files with a digest in their name kept by
// browsers, every other address the page itself. Compressed files stay in memory, so that no load pays for it twice.

import { existsSync, readFileSync, statSync } from "node:fs";
import http from "node:http";
import { extname, join, normalize } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";

const [dist, upstream, root = "/dicom-web"] = process.argv.slice(2);
const token = process.env.DICOMWEB_TOKEN;
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json",
  ".svg": "image/svg+xml", ".wasm": "application/wasm", ".woff2": "font/woff2", ".png": "image/png", ".ico": "image/x-icon",
};
const COMPRESSED = new Set([".html", ".js", ".mjs", ".css", ".json", ".svg", ".wasm"]);
const SOURCE = {
  qidoRoot: "/dicom-web", wadoRoot: "/dicom-web", wadoUriRoot: "/dicom-web", qidoSupportsIncludeField: false,
  supportsReject: false, imageRendering: "wadors", thumbnailRendering: "wadors", enableStudyLazyLoad: true,
  supportsFuzzyMatching: false, supportsWildcard: true, name: "orthanc", friendlyName: "Orthanc",
};
const SETTINGS = `window.config = ${JSON.stringify({
  routerBasename: "/", extensions: [], modes: [], customizationService: {}, showStudyList: true, maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false, showLoadingIndicator: true, strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: "never" }, defaultDataSourceName: "dicomweb",
  dataSources: [{ namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb", configuration: SOURCE }],
})};`;
const ready = new Map();

function file(path) {
  if (!ready.has(path)) {
    const data = path === "app-config.js" ? Buffer.from(SETTINGS) : readFileSync(join(dist, path));
    const type = extname(path);
    const headers = {
      "Content-Type": TYPES[type] ?? "application/octet-stream",
      "Cache-Control": /\b[0-9a-f]{16}\b/.test(path) ? "public, max-age=31536000, immutable" : "no-cache",
      "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
    };
    const body = COMPRESSED.has(type) ? gzipSync(data, { level: 9 }) : data;
    if (body !== data) headers["Content-Encoding"] = "gzip";
    ready.set(path, { body, headers: { ...headers, "Content-Length": body.length } });
  }
  return ready.get(path);
}

const server = http.createServer((request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://host").pathname)).slice(1);
  if (path.startsWith("dicom-web/")) {
    const target = new URL(request.url.replace("/dicom-web", root), upstream);
    // Orthanc writes addresses into what it answers: they must be of this server.
    const headers = token ? { ...request.headers, authorization: `Bearer ${token}` } : request.headers;
    const passed = http.request(target, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    request.pipe(passed);
    return;
  }
  const found = path && existsSync(join(dist, path)) && statSync(join(dist, path)).isFile();
  const { body, headers } = file(found ? path : "index.html");
  response.writeHead(200, headers);
  response.end(body);
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${server.address().port}\n`));
process.stdin.on("end", () => process.exit()).resume();
