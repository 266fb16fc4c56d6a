// Passkeys: has the browser make one (account page) or sign with one (sign-in), then sends the form.
// Without script, or in a browser without passkeys, the forms stay hidden and people use codes.

import { csrfToken } from "./base.js";

const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const toText = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const withIds = (list) => (list ?? []).map((one) => ({ ...one, id: toBytes(one.id) }));

async function ask(path) {
  const response = await fetch(path, {
    method: "POST", cache: "no-store", headers: { "X-CSRFToken": csrfToken(), "Accept": "application/json" },
  });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? "");
}

async function create(options) {
  const made = await navigator.credentials.create({ publicKey: {
    ...options, challenge: toBytes(options.challenge), excludeCredentials: withIds(options.excludeCredentials),
    user: { ...options.user, id: toBytes(options.user.id) },
  } });
  return { made, response: {
    attestationObject: toText(made.response.attestationObject),
    transports: made.response.getTransports?.() ?? [],
  } };
}

async function get(options) {
  const made = await navigator.credentials.get({ publicKey: {
    ...options, challenge: toBytes(options.challenge), allowCredentials: withIds(options.allowCredentials),
  } });
  return { made, response: {
    authenticatorData: toText(made.response.authenticatorData),
    signature: toText(made.response.signature),
  } };
}

const CALLS = { create, get };

for (const form of document.querySelectorAll("[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  const error = form.querySelector("[data-passkey-error]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.hidden = true;
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      const { made, response } = await CALLS[form.dataset.passkey](await ask(form.dataset.challenge));
      form.elements.credential.value = JSON.stringify({
        id: made.id, rawId: toText(made.rawId), type: made.type,
        response: { clientDataJSON: toText(made.response.clientDataJSON), ...response },
      });
      form.submit();
    } catch (problem) {
      const cancelled = problem instanceof DOMException; // cancelled, timed out, or no such passkey here
      error.textContent = (!cancelled && problem.message) || "No passkey was used. Try again, or use a code.";
      error.hidden = false;
      for (const button of buttons) button.disabled = false;
    }
  });
}
