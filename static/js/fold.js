// The settings of a narrow desk, folded behind a button. On a wide desk CSS shows them always.

/**
 * Let `button` fold and unfold `body`. An "unfold" event on `body` opens it too.
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} body
 */
export function foldable(button, body) {
  const set = (open) => {
    body.toggleAttribute("data-open", open);
    button.setAttribute("aria-expanded", open);
  };
  button.addEventListener("click", () => {
    set(!body.hasAttribute("data-open"));
    body.scrollIntoView({ block: "nearest" });
  });
  body.addEventListener("unfold", () => set(true)); // a field in it is about to get the focus
  if (body.querySelector('[aria-invalid="true"]')) set(true);
}
