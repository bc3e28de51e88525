// Buttons that copy the text or its address, and say whether that worked.

const SAID_FOR = 1600; // ms

/**
 * Serve the `[data-copy]` buttons in `root`.
 * @param {HTMLElement} root the sheet
 */
export function copyButtons(root) {
  const announce = root.querySelector("[data-announce]");
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const done = await copy(button.dataset.copy === "link" ? location.href : written(root));
      announce.textContent = done ? "Copied" : "Copying failed";
      label(button, announce.textContent);
    });
  }
}

function written(root) {
  const part = (name) => root.querySelector(`[data-${name}]`).textContent;
  return part("prompt") + part("text");
}

async function copy(text) {
  if (!navigator.clipboard) return copyByHand(text); // browsers have it only on pages with TLS
  return navigator.clipboard.writeText(text).then(
    () => true,
    () => false,
  );
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
  setTimeout(() => (button.textContent = button.dataset.label), SAID_FOR);
}
