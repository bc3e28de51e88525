// Sends a form to the server and reads its answer, whatever it is.

const PATIENCE = 20000; // ms

/** Return {ok, status, data, message}: `message` says what went wrong as a whole, `data.errors` at which field. */
export async function post(url, body) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      body,
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    return { ok: false, status: 0, data: {}, message: "The server cannot be reached. What you typed is kept; try again." };
  }
  const data = await response.json().catch(() => ({}));
  return { ok: response.ok, status: response.status, data, message: response.ok ? "" : sentence(response, data) };
}

function sentence(response, data) {
  const said = data.errors?.__all__?.join(" ");
  const seconds = Number(response.headers.get("Retry-After"));
  if (said) return seconds ? `${said} Try again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.` : said;
  if (response.status === 400) return "";
  if (response.status === 403) return "This page is too old for the server. Copy what you typed and reload the page.";
  if (response.status === 404) return "This text does not exist any more, or it is not yours.";
  return `The server could not do it (${response.status}). What you typed is kept; try again.`;
}
