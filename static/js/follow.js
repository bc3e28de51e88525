// Keeps the end of a growing text in view, until its reader scrolls up; then offers a way back to the end.

export class Follow {
  #end;
  #bar;
  #jump;
  #active = false;
  #following = false;
  #lastY = 0;

  constructor(end, bar, jump) {
    [this.#end, this.#bar, this.#jump] = [end, bar, jump];
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

  stop() {
    this.#active = false;
    this.#jump.hidden = true;
  }

  grown() {
    if (this.#active && this.#following && !this.#endIsVisible()) this.#scrollToEnd();
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
    return this.#end.getBoundingClientRect().bottom <= innerHeight - this.#bar.offsetHeight + 4;
  }

  #scrollToEnd() {
    scrollBy({ top: this.#end.getBoundingClientRect().bottom - innerHeight + this.#bar.offsetHeight + 24, behavior: "instant" });
  }
}
