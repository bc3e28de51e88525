// Names the characters of the prompt that the model does not know.

import { visible } from "./isolate.js";

export function showUnknown(notice, text) {
  const glyphs = [...new Set(Array.from(text))].map((character) => {
    const glyph = document.createElement("bdi");
    glyph.className = "glyph";
    glyph.textContent = visible(character);
    return glyph;
  });
  notice.querySelector("[data-unknown-list]").replaceChildren(...glyphs.flatMap((glyph, index) => (index ? [" ", glyph] : [glyph])));
  notice.hidden = !glyphs.length;
}
