// Bytes from the portal with progress. Nothing is kept beyond this page's memory.

/** The body of `url` as an ArrayBuffer; `onProgress` gets 0…1 where the length is known. */
export async function fetchBytes(url, { onProgress = () => {}, signal } = {}) {
  const response = await fetch(url, { credentials: "same-origin", cache: "no-store", signal });
  if (!response.ok) throw new Error(`the portal answered ${response.status}`);
  // The length of what was packed on the way says nothing about what arrives.
  const packed = response.headers.get("Content-Encoding");
  const total = packed ? 0 : Number(response.headers.get("Content-Length")) || 0;
  if (!response.body || !total) return response.arrayBuffer();
  const bytes = new Uint8Array(total);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > total) throw new Error("more bytes came than were announced");
    bytes.set(value, at);
    at += value.length;
    onProgress(at / total);
  }
  if (at !== total) throw new Error("the transfer stopped early");
  return bytes.buffer;
}
