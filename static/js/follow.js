// Keeps the end of a growing text in view until the reader scrolls up, then offers a way back.

const TOLERANCE = 4; // px; closer to the edge counts as visible
const MARGIN = 24; // px between the end of the text and the bar below it
const INSTANT = { behavior: "instant" };

export class Follow {
  #end;
  #bars;
  #jump;
  #active = false;
  #following = false;
  #lastY = 0;
  #due = false;

  /**
   * @param {HTMLElement} end the caret at the end of the text
   * @param {HTMLElement[]} bars what stands over the text at the lower edge of the window
   * @param {HTMLButtonElement} jump leads back to the end
   */
  constructor(end, bars, jump) {
    [this.#end, this.#bars, this.#jump] = [end, bars, jump];
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
  }

  /**
   * Start with a text that grows.
   * @param {boolean} asked whether the reader has just asked for it; it is followed then, and also
   *   when its end is visible
   */
  start(asked) {
    this.#active = true;
    this.#lastY = scrollY;
    this.#set(asked || this.#endIsVisible());
    this.grown();
  }

  /**
   * The text has ended. If its end was followed, bring what now stands below it into view.
   * @param {HTMLElement} section scrolled to its end
   */
  finish(section) {
    if (this.#active && this.#following) {
      afterwards(() => {
        const below = bottom(section) - bottom(this.#bars[0]);
        scrollBy({ top: Math.max(0, Math.ceil(below)), ...INSTANT });
      });
    }
    this.#active = false;
    this.#jump.hidden = true;
  }

  /** The text has grown. */
  grown() {
    if (this.#due || !this.#active || !this.#following || this.#endIsVisible()) return;
    this.#due = true;
    afterwards(() => {
      this.#due = false;
      if (this.#active && this.#following && !this.#endIsVisible()) this.#scrollToEnd();
    });
  }

  /** Scroll to the end and follow it again. */
  toEnd() {
    this.#set(true);
    this.#scrollToEnd();
  }

  #scrolled() {
    if (!this.#active) return;
    const up = scrollY < this.#lastY;
    this.#lastY = scrollY;
    if (this.#endIsVisible()) this.#set(true);
    else if (up) this.#set(false);
  }

  #set(following) {
    this.#following = following;
    this.#jump.hidden = following;
  }

  #endIsVisible() {
    return bottom(this.#end) <= this.#edge() + TOLERANCE;
  }

  /** Return where the bars begin to cover the text. */
  #edge() {
    const shown = this.#bars.filter((bar) => !bar.hidden);
    return Math.min(...shown.map((bar) => bar.getBoundingClientRect().top));
  }

  #scrollToEnd() {
    // Whole pixels: after a fraction of one, elements stuck to the window would tremble.
    scrollBy({ top: Math.ceil(bottom(this.#end) - this.#edge() + MARGIN), ...INSTANT });
  }
}

function bottom(element) {
  return element.getBoundingClientRect().bottom;
}

/**
 * Scroll one frame after the text has grown. In the same frame the browser would count what stands
 * below the text, out of sight, as a layout shift.
 */
function afterwards(scroll) {
  requestAnimationFrame(() => requestAnimationFrame(scroll));
}
