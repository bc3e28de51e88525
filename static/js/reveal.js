// Shows characters evenly although they arrive in handfuls.

import { Backlog } from "./backlog.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Reveal {
  #element;
  #node = document.createTextNode("");
  #backlog = new Backlog();
  #frame = 0;
  #last = 0;
  #whenShown = [];
  #onGrow;

  /**
   * @param {HTMLElement} element gets the text
   * @param {() => void} onGrow called whenever more is shown
   */
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

  /** Show a text at once, after all that waits. */
  place(text) {
    this.flush();
    this.#show(text);
  }

  /** Show a text character by character; at once on a hidden page or with reduced motion. */
  add(text) {
    if (!text) return;
    if (still.matches || document.hidden) return this.place(text);
    this.#backlog.add(text, performance.now());
    if (!this.#frame) {
      this.#last = performance.now();
      this.#frame = requestAnimationFrame(this.#step);
    }
  }

  /** Show all that waits. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#backlog.length) this.#show(this.#backlog.takeAll());
    for (const resolve of this.#whenShown.splice(0)) resolve();
  }

  /** Resolve when nothing waits any more. */
  async shown() {
    if (this.#backlog.length) await new Promise((resolve) => this.#whenShown.push(resolve));
  }

  #step = (now) => {
    const elapsed = now - this.#last;
    this.#last = now;
    this.#show(this.#backlog.takeDue(now, elapsed));
    if (this.#backlog.length) this.#frame = requestAnimationFrame(this.#step);
    else this.flush();
  };

  #show(text) {
    if (text) this.#node.appendData(text);
    this.#onGrow();
  }
}
