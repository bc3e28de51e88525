// A key for each submit: the same submit sent twice makes one text; what was changed is another submit.

const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16).padStart(8, "0")).join("");

export function keepClientKey(form) {
  const field = form.elements.namedItem("client_key");
  const renew = () => (field.value = newKey());
  form.addEventListener("input", renew);
  renew();
  return renew;
}

/** The server has put keys into the forms of this page; who left it by one and came back wants another text, not the same. */
export function newKeysOnReturn() {
  addEventListener("pageshow", (event) => {
    if (event.persisted) for (const field of document.querySelectorAll('input[name="client_key"]')) field.value = newKey();
  });
}
