// The reader's own finding as a sentence on the clipboard; where that is not allowed, as a text to copy by hand.

import { _ } from "../language.js";

/** Fetches the sentence and copies it. */
export async function copySentence() {
  const place = document.getElementById("sentence");
  if (!place) return;
  const button = place.querySelector("button");
  const status = place.querySelector(".save-status");
  const text = place.querySelector("textarea");
  /** @param {string} words */
  const show = (words, bad = false) => {
    status.textContent = words;
    status.classList.toggle("bad", bad);
    status.scrollIntoView({ block: "nearest" }); // the panel may be longer than the window
  };
  text.hidden = true;
  show("");
  let sentence;
  try {
    const response = await fetch(button.dataset.url, { cache: "no-store", headers: { Accept: "application/json" } });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) { show(answer.detail || _("There is no sentence. Try again."), true); return; }
    sentence = answer.text;
  } catch {
    show(_("The portal cannot be reached."), true);
    return;
  }
  try {
    await navigator.clipboard.writeText(sentence);
    show(_("Copied: %(sentence)s", { sentence }));
  } catch { // no https, or the browser does not allow it
    text.value = sentence;
    text.hidden = false;
    text.focus();
    text.select();
    show(_("Copy it with Ctrl+C."));
  }
}
