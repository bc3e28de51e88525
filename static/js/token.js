// The CSRF token of every form. A sign-in in another tab makes the page's own token too old.

const NAME = "csrfmiddlewaretoken";

/** Give every form that is sent from this page the token that the cookie then holds. */
export function freshTokens() {
  const refresh = ({ target }) => {
    const token = fromCookie();
    if (token && target.elements[NAME]) target.elements[NAME].value = token;
  };
  // Capturing: before a script that sends the form reads it.
  document.addEventListener("submit", refresh, { capture: true });
}

/**
 * Put a token that the server has just made into `body` and into all forms of the page.
 * @param {FormData} body
 * @param {string} token
 */
export function renewToken(body, token) {
  body.set(NAME, token);
  for (const field of document.querySelectorAll(`input[name="${NAME}"]`)) field.value = token;
}

function fromCookie() {
  const name = `${document.documentElement.dataset.csrfCookie}=`;
  const found = document.cookie.split("; ").find((cookie) => cookie.startsWith(name));
  return found?.slice(name.length);
}
