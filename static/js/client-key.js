// A key for each submit. The server makes one text for each key, however often it is sent.

/**
 * Keep a key in `form`, and renew it with every change: a changed form is another submit.
 * @param {HTMLFormElement} form
 * @returns {() => string} renews the key
 */
export function keepClientKey(form) {
  const field = form.elements.namedItem("client_key");
  const renew = () => (field.value = newKey());
  form.addEventListener("input", renew);
  renew();
  return renew;
}

/**
 * Renew the keys that the server put into the forms of this page when a reader comes back to it.
 * The browser restores the page with its old keys, and the reader now wants another text.
 */
export function newKeysOnReturn() {
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    const fields = document.querySelectorAll('input[name="client_key"]');
    for (const field of fields) field.value = newKey();
  });
}

function newKey() {
  const numbers = crypto.getRandomValues(new Uint32Array(4));
  return Array.from(numbers, (number) => number.toString(16).padStart(8, "0")).join("");
}
