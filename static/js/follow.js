// Keeps the end of a growing text in view, until its reader scrolls up; then offers a way back to the end.

export class Follow {
  #end;
  #bars; // what stands at the lower edge of the window, over the text
  #jump;
  #active = false;
  #following = false;
  #lastY = 0;
  #due = false;

  constructor(end, bars, jump) {
    [this.#end, this.#bars, this.#jump] = [end, bars, jump];
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
  }

  /** Begin with a text that grows; it is followed if the reader asked for it just now, or if its end can be seen. */
  start(asked) {
    this.#active = true;
    this.#lastY = scrollY;
    this.#set(asked || this.#endIsVisible());
    this.grown();
  }

  /** The text has ended: bring into view what stands below it now, up to the end of `section`, if its end was in view. */
  finish(section) {
    if (this.#active && this.#following) {
      afterwards(() => {
        const below = section.getBoundingClientRect().bottom - this.#bars[0].getBoundingClientRect().bottom;
        scrollBy({ top: Math.max(0, Math.ceil(below)), behavior: "instant" });
      });
    }
    this.#active = false;
    this.#jump.hidden = true;
  }

  grown() {
    if (this.#due || !this.#active || !this.#following || this.#endIsVisible()) return;
    this.#due = true;
    afterwards(() => {
      this.#due = false;
      if (this.#active && this.#following && !this.#endIsVisible()) this.#scrollToEnd();
    });
  }

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
    return this.#end.getBoundingClientRect().bottom <= this.#edge() + 4;
  }

  /** Return where the text goes out of sight. */
  #edge() {
    return Math.min(...this.#bars.filter((bar) => !bar.hidden).map((bar) => bar.getBoundingClientRect().top));
  }

  #scrollToEnd() {
    // by whole pixels, or what is stuck to the window trembles
    scrollBy({ top: Math.ceil(this.#end.getBoundingClientRect().bottom - this.#edge() + 24), behavior: "instant" });
  }
}

/** Scroll once what has grown was shown: in one frame with it, what stands below, out of sight, would count as a jump. */
function afterwards(scroll) {
  requestAnimationFrame(() => requestAnimationFrame(scroll));
}
