// Sends a form to the server and reads its answer, whatever it is.

import { renewToken } from "./token.js";

const PATIENCE = 30000; // ms; a busy database answers after 20 s

/**
 * Return {ok, status, data, message, retryAfter}: `message` says what went wrong as a whole, `data.errors` at which field;
 * `retryAfter` is in seconds, 0 where waiting does not help. A form whose token is too old is sent once more, with the new one.
 */
export async function post(url, body, again = false) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      body,
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    const message = "The server cannot be reached. What you typed is kept; try again.";
    return { ok: false, status: 0, data: {}, message, retryAfter: 0 };
  }
  const data = await response.json().catch(() => ({}));
  if (response.status === 403 && data.csrf_token && !again) {
    renewToken(body, data.csrf_token);
    return post(url, body, true);
  }
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return { ok: response.ok, status: response.status, data, message: response.ok ? "" : sentence(response, data, retryAfter), retryAfter };
}

function sentence(response, data) {
  const said = data.errors?.__all__?.join(" ");
  if (said) return said; // how long to wait counts down beside it
  if (response.status === 400) return "";
  if (response.status === 403) return "This page is too old for the server. Copy what you typed and reload the page.";
  if (response.status === 404) return "This text does not exist any more, or it is not yours.";
  return `The server could not do it (${response.status}). What you typed is kept; try again.`;
}
