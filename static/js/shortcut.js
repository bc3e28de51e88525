// Keys: Ctrl or Cmd with Enter sends the form, Escape stops a text, three more say how it is shown.

const APPLE = /Mac|iPhone|iPad/;
const PACE_KEYS = { " ": "pause", ArrowRight: "step", End: "show-all" };
const FIELDS = "input, select, textarea, [contenteditable]";
const PRESSED_BY_SPACE = "button, summary";

/**
 * Send `form` with Ctrl or Cmd and Enter from any of its fields.
 * @param {HTMLFormElement} form
 * @param {EventTarget} place where the keys are heard instead
 */
export function submitOnShortcut(form, place = form) {
  if (APPLE.test(navigator.platform)) form.querySelector("[data-modifier]").textContent = "⌘";
  place.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    if (event.repeat || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

/**
 * Return whether a key asks for a stop: Escape alone, unless it ends a composition or has closed a
 * question.
 * @param {KeyboardEvent} event
 */
export function meansStop(event) {
  if (event.key !== "Escape" || event.repeat) return false;
  return isFree(event);
}

/**
 * Return what a key outside a field means for a text that is being shown: "pause", "step",
 * "show-all", or "" for nothing.
 * @param {KeyboardEvent} event
 */
export function meansPace(event) {
  const name = PACE_KEYS[event.key] ?? "";
  if (!isFree(event) || (event.repeat && name !== "step")) return "";
  const inside = (selector) => Boolean(event.target.closest?.(selector));
  if (inside(FIELDS) || (name === "pause" && inside(PRESSED_BY_SPACE))) return "";
  return name;
}

/** Whether a key was pressed alone, and nothing else has used it. */
function isFree(event) {
  if (event.isComposing || event.defaultPrevented) return false;
  return !(event.ctrlKey || event.altKey || event.metaKey || event.shiftKey);
}
