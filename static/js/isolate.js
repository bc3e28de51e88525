// What a person or a model wrote, in plain text among our own words: titles and sentences. generator/web/foreign.py does the same.

const CONTROLS = /[\u202a-\u202e\u2066-\u2069]/g; // what overrides or embeds a direction, or ends an isolate early

/** Return `text` on one line, with a direction of its own that ends where the text ends. */
export function isolated(text) {
  return `\u2068${text.replace(CONTROLS, "").replace(/[\s\x1c-\x1f\x85]+/g, " ").trim()}\u2069`;
}

/** Return nodes for `text` in which each control of direction stands in a box of its own and has no effect, but can be copied. */
export function tamed(text) {
  return text.split(/([\u202a-\u202e\u2066-\u2069])/).map((part, index) => {
    if (index % 2 === 0) return part;
    const box = document.createElement("span");
    box.className = "control";
    box.textContent = part;
    return box;
  });
}

/** Return a character, or its number where it could not be seen. */
export function visible(character) {
  if (!/[\p{C}\p{Z}]/u.test(character)) return character;
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}
