// Puts the errors of a refused form at their fields, and leads the reader to the first.

/**
 * Remove all errors from `form`.
 * @param {HTMLFormElement} form
 */
export function clearErrors(form) {
  for (const place of form.querySelectorAll("[data-error-for]")) setError(form, place, "");
  showAlert(form, "");
}

/**
 * Show each error at its field, and the rest in the form's alert.
 * @param {HTMLFormElement} form
 * @param {Record<string, string[]>} errors sentences by field name
 * @param {string} message a sentence about the form as a whole, or ""
 * @param {boolean} lead whether to move the focus to the first error
 */
export function showErrors(form, errors, message, lead = true) {
  const places = new Map();
  for (const place of form.querySelectorAll("[data-error-for]")) {
    places.set(place.dataset.errorFor, place);
  }
  const { atFields, rest } = sortErrors(errors, message, places);
  for (const [name, sentence] of atFields) setError(form, places.get(name), sentence);
  showAlert(form, rest);
  if (lead) leadToFirst(form);
}

/**
 * Split `errors` into those with a place in the form and the rest.
 * `message` already says what `__all__` holds.
 * @param {Record<string, string[]>} errors
 * @param {string} message
 * @param {{has: (name: string) => boolean}} places
 * @returns {{atFields: [string, string][], rest: string}}
 */
export function sortErrors(errors, message, places) {
  const atFields = [];
  const rest = message ? [message] : [];
  for (const [name, sentences] of Object.entries(errors)) {
    if (places.has(name)) atFields.push([name, sentences.join(" ")]);
    else if (name !== "__all__") rest.push(...sentences);
  }
  return { atFields, rest: rest.join(" ") };
}

/**
 * Return an error for each number field that holds no number. Browsers send those as if empty.
 * @param {HTMLFormElement} form
 * @returns {Record<string, string[]>}
 */
export function unreadableNumbers(form) {
  const bad = [...form.elements].filter((field) => field.validity?.badInput);
  return Object.fromEntries(bad.map((field) => [field.name, [field.dataset.rule]]));
}

/**
 * Show a sentence about the form as a whole, or hide the alert when it is "".
 * @param {HTMLFormElement} form
 * @param {string} sentence
 */
export function showAlert(form, sentence) {
  const alert = form.querySelector("[data-alert]");
  alert.textContent = sentence;
  alert.hidden = !sentence;
}

function leadToFirst(form) {
  const first =
    form.querySelector('[aria-invalid="true"]') ??
    form.querySelector("[data-alert]:not([hidden])");
  first?.closest("details")?.setAttribute("open", "");
  first?.closest("[data-settings-body]")?.dispatchEvent(new Event("unfold"));
  first?.focus();
  first?.closest(".field")?.scrollIntoView({ block: "nearest" }); // with the sentence below it
}

function setError(form, place, sentence) {
  place.textContent = sentence;
  place.hidden = !sentence;
  // `namedItem`, because `elements.length` would be a count and not the field
  const field = form.elements.namedItem(place.dataset.errorFor);
  if (sentence) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}
