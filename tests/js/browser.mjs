// The parts of a browser that Node lacks: a window, a document, a clock that a test moves, and
// elements without a tree. Every test file has a process, and so a browser, of its own. Imported
// first: some modules ask for a part when they are loaded.

import { webcrypto } from "node:crypto";

const FRAME = 16; // ms

/** Set a global, also one that Node protects. */
export function define(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** Stands still until a test lets time pass. Timers and frames run in the order of their time. */
class Clock {
  now = 0;
  #jobs = new Map(); // id → {at, run}
  #lastId = 0;

  /** Let `ms` pass. */
  pass(ms) {
    const end = this.now + ms;
    for (let next = this.#next(end); next; next = this.#next(end)) {
      const [id, { at, run }] = next;
      this.#jobs.delete(id);
      this.now = at;
      run();
    }
    this.now = end;
  }

  plan(run, delay = 0) {
    this.#jobs.set(++this.#lastId, { at: this.now + delay, run });
    return this.#lastId;
  }

  cancel(id) {
    this.#jobs.delete(id);
  }

  #next(end) {
    const due = [...this.#jobs].filter(([, job]) => job.at <= end);
    return due.sort(([, one], [, other]) => one.at - other.at)[0];
  }
}

/** An element on its own: text, attributes and events, and what a test gives it besides. */
export class FakeElement extends EventTarget {
  textContent = "";
  value = "";
  hidden = false;
  dataset = {};
  parts = {}; // selector → element
  lists = {}; // selector → elements
  children = [];
  #attributes = new Map();

  constructor(given = {}) {
    super();
    Object.assign(this, given);
  }

  querySelector(selector) {
    return this.parts[selector] ?? null;
  }

  querySelectorAll(selector) {
    return this.lists[selector] ?? [];
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.#attributes.set(name, String(value));
  }

  removeAttribute(name) {
    this.#attributes.delete(name);
  }

  append(...children) {
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = children;
  }

  focus() {
    document.activeElement = this;
  }

  closest() {
    return null;
  }

  scrollIntoView() {}
}

/** Return an event with what a test gives it. */
export function happening(type, given = {}) {
  return Object.assign(new Event(type, { cancelable: true }), given);
}

/** Let everything happen that promises wait for. */
export async function settled() {
  await new Promise((resolve) => setImmediate(resolve));
}

export const clock = new Clock();
export const page = new EventTarget();
export const stored = new Map(); // what localStorage holds
export const motion = { matches: false }; // whether the reader prefers reduced motion

define("setTimeout", (run, delay) => clock.plan(run, delay));
define("clearTimeout", (id) => clock.cancel(id));
define("requestAnimationFrame", (run) => clock.plan(() => run(clock.now), FRAME));
define("cancelAnimationFrame", (id) => clock.cancel(id));
define("performance", { now: () => clock.now });
for (const name of ["addEventListener", "removeEventListener"]) define(name, page[name].bind(page));
define("location", new URL("https://example.org/generations/1/"));
define("localStorage", {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
});
define("navigator", { platform: "Linux" });
define("matchMedia", () => motion);
define("crypto", webcrypto);
define("document", new FakeElement({ cookie: "", activeElement: null }));
document.createTextNode = (data) => ({ data, appendData: append });
document.createElement = (name) => new FakeElement({ name });
globalThis.CustomEvent ??= class extends Event { // Node 18 has none
  constructor(type, { detail } = {}) {
    super(type);
    this.detail = detail;
  }
};

function append(text) {
  this.data += text;
}
