// Where a sentence ends, for readers who want no motion: they are shown one at a time.

// An end of a sentence with the quotes and brackets that close it, or of a line.
const END = /[.!?…]["'”’»)\]_]*\s+|[。！？][」』”’]*|\n+/u;
const LONGEST = 300; // characters; a longer sentence is shown in pieces

/**
 * Return how many characters from `start` are one sentence, 0 if it is not complete.
 * @param {string[]} characters
 * @param {number} start
 * @param {number} end up to which they may be shown
 * @param {boolean} ended whether nothing comes after them
 * @returns {number}
 */
export function sentenceLength(characters, start, end, ended) {
  const first = characters.slice(start, Math.min(end, start + LONGEST));
  const found = END.exec(first.join(""));
  if (found) return countUntil(first, found.index + found[0].length);
  if (first.length < LONGEST) return ended ? first.length : 0;
  return first.lastIndexOf(" ") + 1 || LONGEST;
}

/** Return how many of `characters` have `length` code units together. */
function countUntil(characters, length) {
  let count = 0;
  for (let units = 0; units < length; count++) units += characters[count].length;
  return count;
}
