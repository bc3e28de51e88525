// Characters that have arrived and are not yet shown, and how many of them are due.

const LAG = 280; // ms; no character waits longer
const SMOOTHING = 110; // ms; in each step, the share shown is the step's length divided by this

export class Backlog {
  #parts = []; // [{characters, arrived}], characters are code points
  #length = 0;

  /** The number of characters that wait. */
  get length() {
    return this.#length;
  }

  /**
   * Add a text that arrived at `now`.
   * @param {string} text
   * @param {number} now ms
   */
  add(text, now) {
    const characters = Array.from(text);
    this.#parts.push({ characters, arrived: now });
    this.#length += characters.length;
  }

  /**
   * Take what is due at `now`: a share of all, at least one character, and all that is overdue.
   * @param {number} now ms
   * @param {number} elapsed ms since the last step
   * @returns {string}
   */
  takeDue(now, elapsed) {
    const share = Math.ceil((this.#length * elapsed) / SMOOTHING);
    const late = this.#parts.filter((part) => now - part.arrived > LAG);
    const overdue = late.reduce((sum, part) => sum + part.characters.length, 0);
    return this.#take(Math.max(1, share, overdue));
  }

  /** Take everything. */
  takeAll() {
    return this.#take(this.#length);
  }

  #take(wanted) {
    let text = "";
    while (wanted > 0 && this.#parts.length) {
      const { characters } = this.#parts[0];
      const taken = characters.splice(0, wanted);
      text += taken.join("");
      wanted -= taken.length;
      this.#length -= taken.length;
      if (!characters.length) this.#parts.shift();
    }
    return text;
  }
}
