// Offers to send a form again once the server will take it, and counts down the seconds.

const SPREAD = 2000; // ms; pages that were refused together do not all come back together

export class Retry {
  #row;
  #wanted;
  #seconds;
  #due = 0;
  #timer = 0;
  #send;
  #over;

  /** @param {HTMLElement} row the offer: a checkbox and the seconds left */
  constructor(row) {
    this.#row = row;
    this.#wanted = row.querySelector("[data-retry-wanted]");
    this.#seconds = row.querySelector("[data-retry-seconds]");
  }

  /**
   * Count down, then call `send` if the reader ticked the offer, else `over`.
   * @param {number} seconds
   * @param {() => void} send
   * @param {() => void} over tells the reader that the form can be sent now
   */
  offer(seconds, send, over) {
    this.#stop();
    [this.#send, this.#over] = [send, over];
    this.#due = performance.now() + seconds * 1000 + Math.random() * SPREAD;
    this.#row.hidden = false;
    this.#tick();
  }

  /** End the wait now. */
  over() {
    this.#stop();
    (this.#wanted.checked ? this.#send : this.#over)();
  }

  /** Withdraw the offer. */
  clear() {
    this.#stop();
    this.#wanted.checked = false;
  }

  #tick() {
    const left = this.#due - performance.now();
    this.#seconds.textContent = Math.max(1, Math.ceil(left / 1000));
    if (left > 0) this.#timer = setTimeout(() => this.#tick(), Math.min(left, 1000));
    else this.over();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#row.hidden = true;
  }
}
