// Shows characters at the reader's pace although they arrive in handfuls.

import { Backlog } from "./backlog.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Reveal {
  #element;
  #node = document.createTextNode("");
  #backlog = new Backlog();
  #rate = Infinity;
  #paused = false;
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
    document.addEventListener("visibilitychange", () => this.#unseen() && this.flush());
  }

  /** Characters a second; Infinity shows them as they come, evenly. */
  set rate(rate) {
    this.#rate = rate;
    this.#resume();
  }

  get paused() {
    return this.#paused;
  }

  set paused(paused) {
    this.#paused = paused;
    this.#resume();
  }

  /** Whether the text may be shown much later than it arrives. */
  get paced() {
    return this.#paused || this.#rate !== Infinity;
  }

  /** How many code points have arrived and are not shown. */
  get waiting() {
    return this.#backlog.length;
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

  /**
   * Show a text at the pace: by characters, or by sentences with reduced motion. What a hidden page
   * does not show is there when the reader comes back, as far as the pace has come by then.
   */
  add(text) {
    if (!text) return;
    if (this.#unseen()) return this.place(text);
    this.#backlog.add(text, performance.now());
    this.#run();
  }

  /** Nothing more comes. */
  end() {
    this.#backlog.end();
  }

  /** Show one more character or sentence. */
  step() {
    this.#show(this.#backlog.takeOne(performance.now(), still.matches));
    this.#settle();
  }

  /** Show all that waits. */
  flush() {
    this.#show(this.#backlog.takeAll());
    this.#settle();
  }

  /** Resolve when nothing waits any more. */
  async shown() {
    if (this.#backlog.length) await new Promise((resolve) => this.#whenShown.push(resolve));
  }

  /** Whether nobody sees how the text comes, and no pace says how far it should be. */
  #unseen() {
    return document.hidden && !this.paced;
  }

  /** Go on from now, or stand still. */
  #resume() {
    this.#backlog.resume(performance.now());
    this.#halt();
    this.#run();
  }

  #halt() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  #run() {
    if (this.#frame || this.#paused || !this.#backlog.length) return;
    this.#last = performance.now();
    this.#frame = requestAnimationFrame(this.#step);
  }

  #step = (now) => {
    this.#show(this.#due(now));
    this.#last = now;
    if (this.#backlog.length) this.#frame = requestAnimationFrame(this.#step);
    else this.#settle();
  };

  #due(now) {
    if (still.matches) return this.#backlog.takePaced(now, this.#rate, true);
    if (this.#rate !== Infinity) return this.#backlog.takePaced(now, this.#rate);
    return this.#backlog.takeDue(now, now - this.#last);
  }

  #settle() {
    if (this.#backlog.length) return;
    this.#halt();
    for (const resolve of this.#whenShown.splice(0)) resolve();
  }

  #show(text) {
    if (!text) return;
    this.#node.appendData(text);
    this.#onGrow();
  }
}
