// Puts what the server refused at the fields it is about, and leads there.

export function clearErrors(form) {
  for (const place of form.querySelectorAll("[data-error-for]")) setError(form, place, "");
  showAlert(form, "");
}

/** Show `errors` ({field: [sentence]}) and, about no field, `message`; lead to the first. */
export function showErrors(form, errors, message, lead = true) {
  const rest = message ? [message] : [];
  for (const [name, sentences] of Object.entries(errors)) {
    const place = form.querySelector(`[data-error-for="${CSS.escape(name)}"]`);
    if (place) setError(form, place, sentences.join(" "));
    else if (name !== "__all__") rest.push(...sentences);
  }
  showAlert(form, rest.join(" "));
  if (!lead) return;
  const first = form.querySelector('[aria-invalid="true"]') ?? form.querySelector("[data-alert]:not([hidden])");
  first?.closest("details")?.setAttribute("open", "");
  first?.closest("[data-settings-body]")?.dispatchEvent(new Event("unfold"));
  first?.focus();
  first?.closest(".field")?.scrollIntoView({ block: "nearest" }); // with the sentence below it
}

/** Return an error for each number field that holds something else; browsers send those as if they were empty. */
export function unreadableNumbers(form) {
  const bad = [...form.elements].filter((field) => field.validity?.badInput);
  return Object.fromEntries(bad.map((field) => [field.name, [field.dataset.rule]]));
}

function setError(form, place, sentence) {
  place.textContent = sentence;
  place.hidden = !sentence;
  const field = form.elements.namedItem(place.dataset.errorFor); // `elements.length` would be a count
  if (sentence) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** Say something about no field. */
export function showAlert(form, sentence) {
  const alert = form.querySelector("[data-alert]");
  alert.textContent = sentence;
  alert.hidden = !sentence;
}
