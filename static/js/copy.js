// Buttons that copy the text or its address, and say that they did.

export function copyButtons(root) {
  const announce = root.querySelector("[data-announce]");
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const done = await copy(button.dataset.copy === "link" ? location.href : written(root));
      announce.textContent = done ? "Copied" : "Copying did not work";
      label(button, announce.textContent);
    });
  }
}

function written(root) {
  return root.querySelector("[data-prompt]").textContent + root.querySelector("[data-text]").textContent;
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  return copyByHand(text); // pages without TLS have no clipboard
}

function copyByHand(text) {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  return done;
}

function label(button, text) {
  button.dataset.label ??= button.textContent;
  button.textContent = text;
  setTimeout(() => (button.textContent = button.dataset.label), 1600);
}
