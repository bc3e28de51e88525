// The line with the reader's pace: choose it, pause, go on by one character, show all. With keys.

import { remember, remembered, rateOf } from "./pace.js";
import { meansPace } from "./shortcut.js";

export class PaceBar {
  #part;
  #reveal;
  #changed;

  /**
   * @param {(name: string) => HTMLElement} part finds an element by its hook
   * @param {import("./reveal.js").Reveal} reveal shows the text
   * @param {() => void} changed called when the reader has changed how the text is shown
   */
  constructor(part, reveal, changed) {
    [this.#part, this.#reveal, this.#changed] = [part, reveal, changed];
    const select = part("pace");
    select.value = remembered();
    reveal.rate = rateOf(select.value);
    select.addEventListener("input", (event) => this.#choose(event));
    for (const name of ["pause", "step", "show-all"]) {
      part(name).addEventListener("click", () => this.#act(name));
    }
    document.addEventListener("keydown", (event) => this.#pressed(event));
    this.offer(false);
    this.pause(false);
  }

  /** Offer what a text needs while it is `running`. */
  offer(running) {
    this.#part("pace-buttons").hidden = !running;
  }

  /** The buttons, which go when a text has ended. */
  get buttons() {
    return ["pause", "step", "show-all"].map(this.#part);
  }

  /** Pause, or go on. */
  pause(paused) {
    this.#reveal.paused = paused;
    this.#part("pause").setAttribute("aria-pressed", paused);
    this.#part("step").setAttribute("aria-disabled", !paused);
  }

  #choose(event) {
    event.stopPropagation(); // the pace is no part of the form around it
    remember(event.target.value);
    this.#reveal.rate = rateOf(event.target.value);
    this.#changed();
  }

  #act(name) {
    if (name === "pause") this.pause(!this.#reveal.paused);
    else if (name === "show-all") this.#reveal.flush();
    else if (this.#reveal.paused) this.#reveal.step();
    this.#changed();
  }

  #pressed(event) {
    if (this.#part("pace-buttons").hidden) return;
    const name = meansPace(event);
    if (!name || (name === "step" && !this.#reveal.paused)) return;
    event.preventDefault(); // it would scroll
    this.#act(name);
  }
}
