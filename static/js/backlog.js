// Characters that have arrived and are not yet shown, and which of them are due. A character here
// is what a reader takes for one: a letter with its marks, an emoji with its parts.

import { sentenceLength } from "./sentence-end.js";

const LAG = 280; // ms; no character waits longer where the reader wants no pace
const SMOOTHING = 110; // ms; in each step, the share shown is the step's length divided by this
const SIMPLE = /^[^\r\u0300-\uffff]*$/; // nothing in it joins another character: no need to ask

const segmenter = Intl.Segmenter && new Intl.Segmenter("en", { granularity: "grapheme" });

export class Backlog {
  #characters = [];
  #arrivals = []; // ms, of each character
  #open = false; // what comes next may belong to the last character
  #due = 0; // ms; when the next character may be shown
  #length = 0;

  /** The number of code points that wait. */
  get length() {
    return this.#length;
  }

  /**
   * Add a text that arrived at `now`.
   * @param {string} text
   * @param {number} now ms
   */
  add(text, now) {
    let arrived = now;
    this.#length += Array.from(text).length;
    if (this.#open && this.#characters.length) {
      text = this.#characters.pop() + text;
      arrived = this.#arrivals.pop();
    }
    for (const character of split(text)) {
      this.#characters.push(character);
      this.#arrivals.push(arrived);
      arrived = now;
    }
    this.#open = true;
  }

  /** Nothing more comes: what waits is complete. */
  end() {
    this.#open = false;
  }

  /**
   * Take what is due at `now` without a pace: a share of all, at least one character, and all that
   * is overdue.
   * @param {number} now ms
   * @param {number} elapsed ms since the last step
   * @returns {string}
   */
  takeDue(now, elapsed) {
    const complete = this.#complete(now);
    const share = Math.ceil((complete * elapsed) / SMOOTHING);
    const young = this.#arrivals.findIndex((arrived) => now - arrived <= LAG);
    const overdue = young < 0 ? complete : young;
    return this.#take(Math.min(complete, Math.max(1, share, overdue)));
  }

  /**
   * Take what a pace has reached at `now`. Each unit comes when those before it have had their
   * time, but not before it arrived. So a step after a long time takes as much as many short ones.
   * @param {number} now ms
   * @param {number} rate characters a second
   * @param {boolean} whole whether a unit is a sentence, not a character
   * @returns {string}
   */
  takePaced(now, rate, whole = false) {
    let count = 0;
    for (let unit; (unit = this.#unit(now, whole, count)); count += unit) {
      const due = Math.max(this.#due, this.#arrivals[count + unit - 1]);
      if (due > now) break;
      this.#due = due + (unit * 1000) / rate;
    }
    return this.#take(count);
  }

  /**
   * Take one unit, due or not.
   * @param {number} now ms
   * @param {boolean} whole whether a unit is a sentence, not a character
   * @returns {string}
   */
  takeOne(now, whole = false) {
    return this.#take(this.#unit(now, whole) || this.#complete(now));
  }

  /** Take everything. */
  takeAll() {
    return this.#take(this.#characters.length);
  }

  /** Go on at `now` as if no time had passed since the last step. */
  resume(now) {
    this.#due = Math.max(this.#due, now);
  }

  /** Return how many characters cannot grow any more, or have waited long enough to. */
  #complete(now) {
    const count = this.#characters.length;
    const growing = this.#open && count && now - this.#arrivals.at(-1) <= LAG;
    return growing ? count - 1 : count;
  }

  /** Return how many characters the unit at `start` has, 0 while it is not complete. */
  #unit(now, whole, start = 0) {
    const end = this.#complete(now);
    if (whole) return sentenceLength(this.#characters, start, end, !this.#open);
    return Math.min(1, end - start);
  }

  #take(count) {
    this.#arrivals.splice(0, count);
    const text = this.#characters.splice(0, count).join("");
    this.#length -= Array.from(text).length;
    return text;
  }
}

/** Return the characters of a text: graphemes, or code points where a browser cannot tell. */
function split(text) {
  if (!segmenter || SIMPLE.test(text)) return [...text];
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}
