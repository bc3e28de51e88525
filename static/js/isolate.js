// What a person or a model wrote, shown among our own words. It may hold controls of direction.
// generator/web/foreign.py does the same.

// These override or embed a direction, or end an isolate early.
const CONTROLS = /([\u202a-\u202e\u2066-\u2069])/;
const ALL_CONTROLS = new RegExp(CONTROLS, "g");

/**
 * Return `text` on one line for a title or a sentence. Its direction ends where the text ends.
 * @param {string} text
 */
export function isolated(text) {
  const line = text.replace(ALL_CONTROLS, "").replace(/[\s\x1c-\x1f\x85]+/g, " ").trim();
  return `\u2068${line}\u2069`;
}

/**
 * Return nodes for `text`. Each control of direction stands in a box of its own: it has no effect
 * there, but can be copied.
 * @param {string} text
 * @returns {(string | HTMLElement)[]}
 */
export function tamed(text) {
  return text.split(CONTROLS).map((part, index) => {
    if (index % 2 === 0) return part;
    const box = document.createElement("span");
    box.className = "control";
    box.textContent = part;
    return box;
  });
}

/**
 * Return a character, or its number where it would be invisible.
 * @param {string} character
 */
export function visible(character) {
  if (!/[\p{C}\p{Z}]/u.test(character)) return character;
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}
