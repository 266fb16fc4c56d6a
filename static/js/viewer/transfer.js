// Downloads with progress, into this page's memory only.

/** The body of `url` as an ArrayBuffer; `onProgress` gets 0…1 where the length is known.
    @param {string} url  @param {(share: number) => void} onProgress  @returns {Promise<ArrayBuffer>} */
export async function fetchBytes(url, onProgress = () => {}) {
  const response = await fetch(url, { credentials: "same-origin", cache: "no-store" });
  if (!response.ok) throw new Error(`the portal answered ${response.status}`);
  // The length of a compressed body is not the length of its content.
  const compressed = response.headers.get("Content-Encoding");
  const total = compressed ? 0 : Number(response.headers.get("Content-Length")) || 0;
  if (!response.body || !total) return response.arrayBuffer();
  const bytes = new Uint8Array(total);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > total) throw new Error("more bytes than announced");
    bytes.set(value, at);
    at += value.length;
    onProgress(at / total);
  }
  if (at !== total) throw new Error("the transfer stopped early");
  return bytes.buffer;
}
