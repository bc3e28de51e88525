// A question that was opened closes with Escape, or when the reader turns to something else.

export function closableQuestions() {
  const open = () => document.querySelectorAll("[data-confirm][open]");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const question of open()) {
      event.preventDefault(); // it means nothing else then
      question.open = false;
      question.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const question of open()) if (!question.contains(event.target)) question.open = false;
  });
}
