// Small comforts that every page does without: to copy what is marked by data-copy, to print the page, and to see the
// password that one types. The words are those of the page's language.
"use strict";
(() => {
  const words = document.getElementById("content").dataset;
  const button = (text) => {
    const b = document.createElement("button");
    b.type = "button";
    b.className = "quiet-button";
    b.textContent = text;
    return b;
  };

  if (navigator.clipboard) for (const place of document.querySelectorAll("[data-copy-from]")) {
    const from = document.getElementById(place.dataset.copyFrom);
    const b = button(words.copy);
    b.id = from.id + "-copy";
    b.setAttribute("aria-live", "polite");
    if (place.dataset.copyWhat) b.setAttribute("aria-label", words.copy + ": " + place.dataset.copyWhat);
    b.addEventListener("click", async () => {
      const lines = [...from.querySelectorAll("li")].map((e) => e.textContent.trim());
      try {
        await navigator.clipboard.writeText(lines.length ? lines.join("\n") + "\n" : from.textContent.trim());
      } catch {
        return; // the browser forbids it: what is there can still be marked
      }
      b.textContent = words.copied;
      b.removeAttribute("aria-label");
      setTimeout(() => { b.textContent = words.copy; }, 2500);
    });
    place.append(b);
  }

  for (const place of document.querySelectorAll("[data-printer]")) {
    const b = button(words.print);
    b.addEventListener("click", () => window.print());
    place.append(b);
  }

  for (const input of document.querySelectorAll("input[type=password]")) {
    const b = button(words.show);
    const label = document.querySelector("label[for=" + input.id + "]").textContent;
    const name = () => b.setAttribute("aria-label", b.textContent + ": " + label);
    name();
    b.setAttribute("aria-controls", input.id);
    const box = document.createElement("span");
    box.className = "reveal";
    input.replaceWith(box);
    box.append(input, b);
    b.addEventListener("click", () => {
      const hidden = input.type === "password";
      input.type = hidden ? "text" : "password";
      b.textContent = hidden ? words.hide : words.show;
      name();
      input.focus();
    });
    if (input.form) input.form.addEventListener("submit", () => { input.type = "password"; });
    if (input.autofocus) input.focus();
  }
})();
