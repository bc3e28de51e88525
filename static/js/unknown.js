// Names the characters of the prompt that the model does not know.

import { visible } from "./isolate.js";

/**
 * Show each character of `text` once, or hide the notice when there is none.
 * @param {HTMLElement} notice
 * @param {string} text
 */
export function showUnknown(notice, text) {
  const glyphs = [...new Set(Array.from(text))].map((character) => {
    const glyph = document.createElement("bdi");
    glyph.className = "glyph";
    glyph.textContent = visible(character);
    return glyph;
  });
  const spaced = glyphs.flatMap((glyph, index) => (index ? [" ", glyph] : [glyph]));
  notice.querySelector("[data-unknown-list]").replaceChildren(...spaced);
  notice.hidden = !glyphs.length;
}
