// Passkeys: has the browser make one (account page) or sign with one (sign-in), then sends the form.
// Without script, or in a browser without passkeys, the forms stay hidden and people use codes.

import { csrfToken } from "./base.js";
import { _ } from "./language.js";

// What the server asks for: as the browser wants it, but its bytes are text.
/** @template T @typedef {Omit<T, "id"> & { id: string }} WithId */
/** @typedef {Omit<
      PublicKeyCredentialCreationOptions, "challenge" | "user" | "excludeCredentials"
    > & {
      challenge: string, user: WithId<PublicKeyCredentialUserEntity>,
      excludeCredentials?: WithId<PublicKeyCredentialDescriptor>[],
    }} CreationOptions */
/** @typedef {Omit<PublicKeyCredentialRequestOptions, "challenge" | "allowCredentials"> & {
      challenge: string, allowCredentials?: WithId<PublicKeyCredentialDescriptor>[],
    }} RequestOptions */

/** @param {string} text */
const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
/** @param {ArrayBuffer} buffer */
const toText = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
/** @param {WithId<PublicKeyCredentialDescriptor>[]} list */
const withIds = (list) => (list ?? []).map((one) => ({ ...one, id: toBytes(one.id) }));

/** @param {string} path */
async function ask(path) {
  const response = await fetch(path, {
    method: "POST", cache: "no-store", headers: { "X-CSRFToken": csrfToken(), "Accept": "application/json" },
  });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? "");
}

/** @param {CreationOptions} options */
async function create(options) {
  const made = await /** @type {Promise<any>} */ (navigator.credentials.create({ publicKey: {
    ...options, challenge: toBytes(options.challenge), excludeCredentials: withIds(options.excludeCredentials),
    user: { ...options.user, id: toBytes(options.user.id) },
  } }));
  return { made, response: {
    attestationObject: toText(made.response.attestationObject),
    transports: made.response.getTransports?.() ?? [],
  } };
}

/** @param {RequestOptions} options */
async function get(options) {
  const made = await /** @type {Promise<any>} */ (navigator.credentials.get({ publicKey: {
    ...options, challenge: toBytes(options.challenge), allowCredentials: withIds(options.allowCredentials),
  } }));
  return { made, response: {
    authenticatorData: toText(made.response.authenticatorData),
    signature: toText(made.response.signature),
  } };
}

/** @type {Record<string, (options: any) => Promise<{ made: any, response: object }>>} */
const CALLS = { create, get };

/** What one of the person's passkeys has signed of the challenge from `path`, as a form sends it.
    @param {string} path */
export async function signed(path) { return credential(await get(await ask(path))); }

/** @param {{ made: any, response: object }} signed */
function credential({ made, response }) {
  return JSON.stringify({
    id: made.id, rawId: toText(made.rawId), type: made.type,
    response: { clientDataJSON: toText(made.response.clientDataJSON), ...response },
  });
}

/** Shows the forms in `root` that use a passkey, and has them do so. A form is sent as usual, unless
    a listener for its event "passkey" prevents that.
    @param {ParentNode} root */
export function wirePasskeys(root) {
  /** @type {NodeListOf<HTMLFormElement>} */
  const forms = root.querySelectorAll("[data-passkey]");
  for (const form of forms) if (form.hidden) wire(form); // once each
}

/** @param {HTMLFormElement} form */
function wire(form) {
  if (!window.PublicKeyCredential) return;
  form.hidden = false;
  const error = /** @type {HTMLElement} */ (form.querySelector("[data-passkey-error]"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    error.hidden = true;
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      const made = await CALLS[form.dataset.passkey](await ask(form.dataset.challenge));
      /** @type {HTMLInputElement} */ (form.elements.namedItem("credential")).value = credential(made);
      if (form.dispatchEvent(new Event("passkey", { bubbles: true, cancelable: true }))) form.submit();
    } catch (problem) {
      const cancelled = problem instanceof DOMException; // cancelled, timed out, or no such passkey here
      error.textContent = (!cancelled && problem instanceof Error && problem.message) || _("No passkey was used. Try again, or use a code.");
      error.hidden = false;
      for (const button of buttons) button.disabled = false;
    }
  });
}

wirePasskeys(document);
