// Offers to send again by itself what was refused for now, and counts the seconds until then.

const SPREAD = 2000; // ms; those who were refused together should not come back together

export class Retry {
  #row;
  #wanted;
  #seconds;
  #due = 0;
  #timer = 0;
  #send;
  #over;

  constructor(row) {
    this.#row = row;
    this.#wanted = row.querySelector("[data-retry-wanted]");
    this.#seconds = row.querySelector("[data-retry-seconds]");
  }

  /** Count down; then `send` if the reader wants that, else `over`, after which the reader can. */
  offer(seconds, send, over) {
    this.#stop();
    [this.#send, this.#over] = [send, over];
    this.#due = performance.now() + seconds * 1000 + Math.random() * SPREAD;
    this.#row.hidden = false;
    this.#tick();
  }

  /** There is nothing to wait for any more. */
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
