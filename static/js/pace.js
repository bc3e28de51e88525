// The pace at which a reader wants to see a text. This browser remembers it.

const KEY = "pace";
const DEFAULT = "60";

/** What a reader can choose: characters a second, or "instant". _output.html lists the same. */
export const PACES = ["15", "30", "60", "120", "250", "instant"];

/**
 * Return the characters a second of a pace, Infinity for "instant".
 * @param {string} pace
 */
export function rateOf(pace) {
  return pace === "instant" ? Infinity : Number(pace);
}

/** Return the pace chosen last, or the one to begin with. */
export function remembered() {
  try {
    const pace = localStorage.getItem(KEY);
    return PACES.includes(pace) ? pace : DEFAULT;
  } catch {
    return DEFAULT; // a browser may refuse to store anything
  }
}

/** @param {string} pace kept for later pages, where the browser stores anything */
export function remember(pace) {
  try {
    localStorage.setItem(KEY, pace);
  } catch {
    // The choice holds for this page.
  }
}
