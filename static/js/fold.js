// The settings of a narrow desk, folded behind a button. On a wide one the style shows them always, and no button.

export function foldable(button, body) {
  const set = (open) => {
    body.toggleAttribute("data-open", open);
    button.setAttribute("aria-expanded", open);
  };
  button.addEventListener("click", () => {
    set(!body.hasAttribute("data-open"));
    body.scrollIntoView({ block: "nearest" });
  });
  body.addEventListener("unfold", () => set(true)); // something in it is about to get the focus
  if (body.querySelector('[aria-invalid="true"]')) set(true);
}
