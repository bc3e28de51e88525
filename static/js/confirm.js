// An open question closes with Escape, or with a click elsewhere.

/** Make every `[data-confirm]` of the page closable. */
export function closableQuestions() {
  const open = () => document.querySelectorAll("[data-confirm][open]");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const question of open()) {
      event.preventDefault(); // this Escape must not stop a text too
      question.open = false;
      question.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const question of open()) if (!question.contains(event.target)) question.open = false;
  });
}
