// What a page needs to use a passkey: it takes the options from the server, has the authenticator sign, and sends the
// form that it stands in. A form says by data-passkey whether a passkey is used ("get") or made ("create"), and by
// data-options where its options are. Without this script, or where the browser knows no passkeys, its buttons stay hidden.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const words = document.getElementById("content").dataset; // in the language of the page
  let waiting = null; // the request that autofill has under way; a browser does one at a time

  const load = async (form) => {
    const answer = await fetch(form.dataset.options, {
      method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ csrf: form.elements.csrf.value }),
    });
    const options = await answer.json();
    if (!answer.ok) throw new Error(options.detail || "");
    const key = options.publicKey;
    key.challenge = bytes(key.challenge);
    if (key.user) key.user.id = bytes(key.user.id);
    for (const c of [...(key.allowCredentials || []), ...(key.excludeCredentials || [])]) c.id = bytes(c.id);
    return { publicKey: key };
  };

  const written = (c) => {
    const r = c.response;
    const out = { id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: {}, response: { clientDataJSON: text(r.clientDataJSON) } };
    if (c.authenticatorAttachment) out.authenticatorAttachment = c.authenticatorAttachment;
    if (r.attestationObject) {
      out.response.attestationObject = text(r.attestationObject);
      if (r.getTransports) out.response.transports = r.getTransports();
    } else {
      out.response.authenticatorData = text(r.authenticatorData);
      out.response.signature = text(r.signature);
      if (r.userHandle) out.response.userHandle = text(r.userHandle);
    }
    return JSON.stringify(out);
  };

  const send = (form, credential) => {
    form.elements.credential.value = written(credential);
    form.submit();
  };

  const say = (form, problem) => {
    const place = form.querySelector("[data-passkey-problem]");
    place.textContent = problem;
    place.hidden = problem === "";
  };

  const use = async (form) => {
    say(form, "");
    if (waiting) waiting.abort();
    waiting = null;
    try {
      const options = await load(form);
      const make = form.dataset.passkey === "create";
      const credential = await (make ? navigator.credentials.create(options) : navigator.credentials.get(options));
      send(form, credential);
    } catch (problem) {
      if (problem.name === "InvalidStateError") say(form, words.passkeyHeld);
      else if (problem.name === "NotAllowedError" || problem.name === "AbortError") say(form, words.passkeyNone);
      else say(form, words.passkeyFailed + (problem.message ? " (" + problem.message + ")" : ""));
    }
  };

  // Offers passkeys where the name is typed. What it asked for is good for five minutes: it asks anew before they are over.
  const offer = async (form) => {
    const canOffer = PublicKeyCredential.isConditionalMediationAvailable;
    if (!canOffer || !(await PublicKeyCredential.isConditionalMediationAvailable())) return;
    const mine = new AbortController();
    waiting = mine;
    const timer = setTimeout(() => {
      if (waiting !== mine) return;
      mine.abort();
      offer(form);
    }, 240000);
    try {
      const options = await load(form);
      send(form, await navigator.credentials.get({ ...options, mediation: "conditional", signal: mine.signal }));
    } catch (problem) {
      clearTimeout(problem.name === "AbortError" ? undefined : timer); // nobody asked for it: nobody is told
    }
  };

  if (!window.PublicKeyCredential || !navigator.credentials) return;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    for (const part of form.querySelectorAll("[data-passkey-part]")) part.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      use(form);
    });
    if ("autofill" in form.dataset) offer(form);
  }
  for (const note of document.querySelectorAll("[data-passkey-missing]")) note.hidden = true;
})();
