// A key for each submit: the same submit sent twice makes one text; what was changed is another submit.

export function keepClientKey(form) {
  const field = form.elements.namedItem("client_key");
  const renew = () => (field.value = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16).padStart(8, "0")).join(""));
  form.addEventListener("input", renew);
  renew();
  return renew;
}
