// Keys: Ctrl or Cmd with Enter sends the form, Escape stops a text.

const APPLE = /Mac|iPhone|iPad/;

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
  if (event.isComposing || event.defaultPrevented) return false;
  return !(event.ctrlKey || event.altKey || event.metaKey || event.shiftKey);
}
