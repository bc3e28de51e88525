// Offers to send again by itself what was refused for now, and counts the seconds until then.

const SPREAD = 2000; // ms; those who were refused together should not come back together

export class Retry {
  #row;
  #wanted;
  #seconds;
  #due = 0;
  #timer = 0;

  constructor(row) {
    this.#row = row;
    this.#wanted = row.querySelector("[data-retry-wanted]");
    this.#seconds = row.querySelector("[data-retry-seconds]");
  }

  /** Count down; then `send` if the reader wants that, else `over`, after which the reader can. */
  offer(seconds, send, over) {
    this.#stop();
    this.#due = performance.now() + seconds * 1000 + Math.random() * SPREAD;
    this.#row.hidden = false;
    this.#tick(send, over);
  }

  /** Withdraw the offer. */
  clear() {
    this.#stop();
    this.#wanted.checked = false;
  }

  #tick(send, over) {
    const left = this.#due - performance.now();
    this.#seconds.textContent = Math.max(1, Math.ceil(left / 1000));
    if (left > 0) this.#timer = setTimeout(() => this.#tick(send, over), Math.min(left, 1000));
    else {
      this.#stop();
      (this.#wanted.checked ? send : over)();
    }
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#row.hidden = true;
  }
}
