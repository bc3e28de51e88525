// Sends a form to the server and reads whatever it answers.

import { postFailed } from "./sentences.js";
import { renewToken } from "./token.js";

const PATIENCE = 30000; // ms; a busy database answers after 20 s

/**
 * Send `body` to `url`. A form whose token is too old is sent once more with the new one.
 * @param {string} url
 * @param {FormData} body
 * @returns {Promise<{ok: boolean, status: number, data: object, message: string,
 *   retryAfter: number}>}
 *   `status` is 0 when no answer came; `message` says what failed as a whole, `data.errors` at
 *   which field; `retryAfter` is in seconds, 0 where waiting does not help
 */
export async function post(url, body) {
  const answer = await send(url, body);
  if (answer.status !== 403 || !answer.data.csrf_token) return answer;
  renewToken(body, answer.data.csrf_token);
  return send(url, body);
}

async function send(url, body) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      body,
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    return { ok: false, status: 0, data: {}, message: postFailed(0), retryAfter: 0 };
  }
  const { ok, status, headers } = response;
  const data = await response.json().catch(() => ({}));
  const message = ok ? "" : data.errors?.__all__?.join(" ") || postFailed(status);
  return { ok, status, data, message, retryAfter: Number(headers.get("Retry-After")) || 0 };
}
