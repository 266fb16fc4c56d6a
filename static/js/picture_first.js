// What people wait for comes first: in a narrow window, as on a phone, the scripts of a page (links with data-after)
// are asked for once its picture is seen, and then all at once, not each after the one that imports it. A wide window
// has asked for them with the page.

const LONGEST = 3000; // ms: a picture that does not come must not keep the page from working

/** @param {HTMLImageElement} picture */
async function seen(picture) {
  await picture.decode().catch(() => {}); // nor one that is broken
  for (let frames = 0; frames < 2; frames += 1) await new Promise((go) => requestAnimationFrame(go));
}

async function begin() {
  /** @type {NodeListOf<HTMLLinkElement>} */
  const links = document.querySelectorAll("link[rel=modulepreload]");
  if (!matchMedia("(min-width: 761px)").matches) {
    /** @type {HTMLImageElement | null} */
    const picture = document.querySelector("img[fetchpriority=high]");
    if (picture) await Promise.race([seen(picture), new Promise((go) => setTimeout(go, LONGEST))]);
    for (const link of links) {
      const now = /** @type {HTMLLinkElement} */ (link.cloneNode());
      now.media = "";
      delete now.dataset.after;
      link.after(now);
    }
  }
  for (const link of links) {
    if (!("after" in link.dataset)) continue;
    const script = document.createElement("script");
    script.type = "module";
    script.async = false; // in the page's order
    script.src = link.href;
    document.body.append(script);
  }
}

begin();
export {};
