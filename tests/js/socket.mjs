// A WebSocket whose other end is the test.

import { define } from "./browser.mjs";

export class FakeSocket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 3;
  static all = [];

  /** The latest one. */
  static get last() {
    return FakeSocket.all.at(-1);
  }

  readyState = FakeSocket.CONNECTING;
  sent = [];

  constructor(url) {
    super();
    this.url = new URL(url);
    FakeSocket.all.push(this);
  }

  /** Return the offset that the page asked for. */
  get after() {
    return Number(this.url.searchParams.get("after"));
  }

  send(message) {
    this.sent.push(JSON.parse(message));
  }

  close() {
    this.readyState = FakeSocket.CLOSED;
  }

  /** Send a frame from the server. */
  receive(frame) {
    this.readyState = FakeSocket.OPEN;
    const data = JSON.stringify(frame);
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  /** Close from the server's end. */
  end(code) {
    this.readyState = FakeSocket.CLOSED;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

/** Return the first frame of a socket. */
export function snapshot(text = "", offset = 0, more = {}) {
  return {
    type: "snapshot", offset, text, state: "running", length: 100, unknown_characters: "", ...more,
  };
}

/** Return a frame with more of a text. */
export function chars(offset, text, more = {}) {
  return { type: "chars", offset, text, ...more };
}

/** Return the last frame of a text of `length` characters. */
export function end(length, more = {}) {
  return { type: "end", state: "done", length, error: "", stats: {}, ...more };
}

define("WebSocket", FakeSocket);
