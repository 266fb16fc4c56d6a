// A link into an exam. What it holds stands behind the #, which browsers send to no server: the first
// page leads on to this site's own form, which gets the cookies of the person, and the form is sent.

const link = location.hash.slice(1);
/** @type {HTMLFormElement | null} */
const form = document.querySelector("form#exam-link");
const opening = document.getElementById("opening");

if (!link) {
  opening?.remove();
} else if (form) {
  history.replaceState(null, "", location.pathname);
  /** @type {HTMLInputElement} */ (form.elements.namedItem("link")).value = link;
  form.submit();
} else {
  location.replace(`${opening?.dataset.next}#${link}`);
}
