// The token that every form carries. A sign-in makes a new one, in another tab too; then the page's own is too old.

const NAME = "csrfmiddlewaretoken";

/** Give every form that is sent from this page the token that the cookie has by then. */
export function freshTokens() {
  document.addEventListener("submit", ({ target }) => {
    const token = fromCookie();
    if (token && target.elements[NAME]) target.elements[NAME].value = token;
  }, { capture: true }); // before whoever sends the form by script reads it
}

/** Put a token that the server has just made into `body` and into all forms of the page. */
export function renewToken(body, token) {
  body.set(NAME, token);
  for (const field of document.querySelectorAll(`input[name="${NAME}"]`)) field.value = token;
}

function fromCookie() {
  const name = `${document.documentElement.dataset.csrfCookie}=`;
  return document.cookie.split("; ").find((cookie) => cookie.startsWith(name))?.slice(name.length);
}
