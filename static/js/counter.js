// Shows how many characters a prompt has, once it comes near its limit.

import { written } from "./sentences.js";

const NEAR = 0.8; // of the limit

/**
 * Count the code points of `field` in `counter`, as the server counts them.
 * @param {HTMLTextAreaElement} field with its limit in `data-limit`
 * @param {HTMLElement} counter
 */
export function countCharacters(field, counter) {
  const limit = Number(field.dataset.limit);
  const show = () => {
    const count = Array.from(field.value).length;
    counter.hidden = count < limit * NEAR;
    counter.textContent = written(count, limit);
  };
  field.addEventListener("input", show);
  show();
}
