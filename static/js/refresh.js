// Takes parts of a page anew from the server, which alone knows timings, hash and replay verdict.

import { localTimes } from "./times.js";

const asked = new Map(); // name → how often; an answer that a later one overtook is dropped

/**
 * Replace the content of each `[data-<name>]` by that of the page at `url`.
 * The page stays as it is when that fails.
 * @param {string} url
 * @param {string[]} names
 */
export async function refreshParts(url, names) {
  const mine = new Map(names.map((name) => [name, (asked.get(name) ?? 0) + 1]));
  for (const [name, count] of mine) asked.set(name, count);
  const response = await fetch(url, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  localTimes(page);
  for (const name of names) {
    if (asked.get(name) !== mine.get(name)) continue;
    const [here, there] = [document, page].map((root) => root.querySelector(`[data-${name}]`));
    if (here && there) here.replaceChildren(...document.importNode(there, true).childNodes);
  }
}
