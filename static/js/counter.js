// Tells how many characters a prompt has, once it comes near its limit.

import { written } from "./sentences.js";

export function countCharacters(field, counter) {
  const limit = Number(field.dataset.limit);
  const show = () => {
    const count = Array.from(field.value).length;
    counter.hidden = count < limit * 0.8;
    counter.textContent = written(count, limit);
  };
  field.addEventListener("input", show);
  show();
}
