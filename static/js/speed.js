// How fast a text arrives, measured from the first characters that this page received.

const ENOUGH = 0.25; // s; a shorter time says nothing

export class Speed {
  #since = null; // {now, position}

  /** Start anew. */
  clear() {
    this.#since = null;
  }

  /**
   * Return the characters per second up to `position`, or null while it is too early to say.
   * @param {number} position characters
   * @param {number} now ms
   */
  at(position, now) {
    this.#since ??= { now, position };
    const seconds = (now - this.#since.now) / 1000;
    return seconds > ENOUGH ? (position - this.#since.position) / seconds : null;
  }
}
