// Ctrl or Cmd and Enter send the form from any of its fields.

export function submitOnShortcut(form) {
  if (/Mac|iPhone|iPad/.test(navigator.platform)) form.querySelector("[data-modifier]").textContent = "⌘";
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
