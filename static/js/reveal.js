// Shows characters evenly although they arrive in handfuls, and never later than LAG after they came.

const LAG = 280; // ms
const SMOOTHING = 110; // ms; the share of the waiting characters shown in a frame is its length divided by this
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Reveal {
  #element;
  #node = document.createTextNode("");
  #waiting = []; // [{ characters, arrived }], characters are code points
  #count = 0;
  #frame = 0;
  #last = 0;
  #whenShown = [];
  #onGrow;

  constructor(element, onGrow) {
    this.#element = element;
    element.append(this.#node);
    this.#onGrow = onGrow;
    document.addEventListener("visibilitychange", () => document.hidden && this.flush());
  }

  /** Begin with an empty sheet. */
  clear() {
    this.flush();
    this.#node.data = "";
    this.#element.replaceChildren(this.#node);
  }

  /** Show a text at once. */
  place(text) {
    this.flush();
    this.#show(text);
  }

  /** Show a text character by character. */
  add(text) {
    if (!text) return;
    if (still.matches || document.hidden) return this.place(text);
    const characters = Array.from(text);
    this.#waiting.push({ characters, arrived: performance.now() });
    this.#count += characters.length;
    if (!this.#frame) {
      this.#last = performance.now();
      this.#frame = requestAnimationFrame(this.#step);
    }
  }

  /** Show all that waits, at once. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#count) this.#show(this.#take(this.#count));
    for (const resolve of this.#whenShown.splice(0)) resolve();
  }

  /** Resolves when nothing waits any more. */
  async shown() {
    if (this.#count) await new Promise((resolve) => this.#whenShown.push(resolve));
  }

  #step = (now) => {
    const share = Math.ceil((this.#count * (now - this.#last)) / SMOOTHING);
    const due = this.#waiting.reduce((sum, part) => sum + (now - part.arrived > LAG ? part.characters.length : 0), 0);
    this.#last = now;
    this.#show(this.#take(Math.max(1, share, due)));
    if (this.#count) this.#frame = requestAnimationFrame(this.#step);
    else this.flush();
  };

  #take(wanted) {
    let text = "";
    while (wanted > 0 && this.#waiting.length) {
      const part = this.#waiting[0];
      const taken = part.characters.splice(0, wanted);
      text += taken.join("");
      wanted -= taken.length;
      this.#count -= taken.length;
      if (!part.characters.length) this.#waiting.shift();
    }
    return text;
  }

  #show(text) {
    if (text) this.#node.appendData(text);
    this.#onGrow();
  }
}
