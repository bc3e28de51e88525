// static/js/stream.js: which characters a page gets, and when it comes back after a loss.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { clock, page } from "./browser.mjs";
import { FakeSocket, chars, end, snapshot } from "./socket.mjs";

import { Stream } from "../../static/js/stream.js";

const TYPES = ["socket", "snapshot", "chars", "alive", "end", "crowded", "refused"];
let stream;
let heard;
let jitter;

Math.random = () => jitter;

beforeEach(() => {
  [heard, jitter, document.hidden] = [[], 0.5, false];
  FakeSocket.all = [];
});
afterEach(() => stream.close());

/** Connect a stream that has the characters up to `position`. */
function opened(position = 0) {
  stream = new Stream("/ws/generations/1/", position);
  for (const type of TYPES) {
    stream.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  }
  stream.open();
}

const told = (...types) => heard.filter(([type]) => types.includes(type));
const details = (type) => told(type).map(([, detail]) => detail);
const text = () => told("snapshot", "chars").map(([, frame]) => frame.text).join("");

describe("connecting", () => {
  test("asks for what comes after the page's own position", () => {
    opened(7);
    assert.equal(FakeSocket.last.url.href, "wss://example.org/ws/generations/1/?after=7");
  });

  test("says that it connects, and that it is open with the first frame", () => {
    opened();
    FakeSocket.last.receive(snapshot());
    assert.deepEqual(details("socket"), ["connecting", "open"]);
  });
});

describe("characters", () => {
  test("are passed on in order", () => {
    opened();
    FakeSocket.last.receive(snapshot("It was"));
    FakeSocket.last.receive(chars(6, " a dark"));
    FakeSocket.last.receive(chars(13, " night"));
    assert.equal(text(), "It was a dark night");
  });

  test("that are known already are dropped, with their surprisal", () => {
    opened();
    FakeSocket.last.receive(snapshot("abc"));
    FakeSocket.last.receive(chars(1, "bcde", { surprisal: [1, 2, 3, 4] }));
    const [frame] = details("chars");
    assert.deepEqual([frame.offset, frame.text, frame.surprisal], [3, "de", [3, 4]]);
  });

  test("of a frame that brings nothing new are not mentioned", () => {
    opened();
    FakeSocket.last.receive(snapshot("abc"));
    FakeSocket.last.receive(chars(1, "bc"));
    assert.deepEqual(details("chars"), []);
  });

  test("are counted as code points, also outside the BMP", () => {
    opened();
    FakeSocket.last.receive(snapshot("𠮷😀"));
    assert.equal(stream.position, 2);
    FakeSocket.last.receive(chars(1, "😀野"));
    assert.equal(text(), "𠮷😀野");
  });

  test("after a gap are not shown: the page asks again from its own position", () => {
    opened();
    FakeSocket.last.receive(snapshot("abc"));
    FakeSocket.last.receive(chars(5, "fg"));
    clock.pass(300);
    assert.equal(FakeSocket.last.after, 3);
    FakeSocket.last.receive(snapshot("defg", 3));
    assert.equal(text(), "abcdefg");
  });

  test("from a socket that was given up are ignored", () => {
    opened();
    const [old] = FakeSocket.all;
    old.receive(chars(5, "a gap"));
    old.receive(chars(0, "too late"));
    assert.equal(text(), "");
  });
});

describe("the end", () => {
  test("is passed on when every character has come, and nothing follows", () => {
    opened();
    FakeSocket.last.receive(snapshot("abc"));
    FakeSocket.last.receive(end(3));
    assert.equal(details("end").length, 1);
    clock.pass(60_000);
    assert.equal(FakeSocket.all.length, 1);
  });

  test("waits until the missing characters were fetched", () => {
    opened();
    FakeSocket.last.receive(snapshot("ab"));
    FakeSocket.last.receive(end(3));
    assert.deepEqual(details("end"), []);
    clock.pass(300);
    FakeSocket.last.receive(snapshot("c", 2));
    FakeSocket.last.receive(end(3));
    assert.equal(text(), "abc");
    assert.equal(details("end").length, 1);
  });
});

describe("reconnecting", () => {
  test("goes on at the position, without a repeat", () => {
    opened();
    FakeSocket.last.receive(snapshot("abc"));
    FakeSocket.last.end(1006);
    assert.equal(details("socket").at(-1), "reconnecting");
    clock.pass(300);
    assert.equal(FakeSocket.last.after, 3);
  });

  test("waits a random part of a limit that doubles from 300 ms to 2.5 s", () => {
    opened();
    jitter = 0.999;
    for (const limit of [300, 600, 1200, 2400, 2500, 2500]) {
      const before = FakeSocket.all.length;
      FakeSocket.last.end(1006);
      clock.pass(limit * 0.99);
      assert.equal(FakeSocket.all.length, before);
      clock.pass(limit * 0.01);
      assert.equal(FakeSocket.all.length, before + 1);
    }
    jitter = 0;
    FakeSocket.last.end(1006);
    clock.pass(0);
    assert.equal(FakeSocket.all.length, 8);
  });

  test("starts with a short pause again once a snapshot has come", () => {
    opened();
    for (let time = 0; time < 5; time++) {
      FakeSocket.last.end(1006);
      clock.pass(2500);
    }
    FakeSocket.last.receive(snapshot());
    FakeSocket.last.end(1006);
    clock.pass(150);
    assert.equal(FakeSocket.all.length, 7);
  });

  test("happens after 12 s of silence, which every frame ends", () => {
    opened();
    FakeSocket.last.receive(snapshot());
    clock.pass(11_000);
    FakeSocket.last.receive({ type: "alive", state: "queued", queue_position: 2 });
    clock.pass(11_000);
    assert.equal(FakeSocket.all.length, 1);
    clock.pass(1_300);
    assert.equal(FakeSocket.all.length, 2);
  });

  test("happens at once when the network or the reader is back", () => {
    opened();
    FakeSocket.last.end(1006);
    page.dispatchEvent(new Event("online"));
    assert.equal(FakeSocket.all.length, 2);
    FakeSocket.last.end(1006);
    document.hidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(FakeSocket.all.length, 2);
    document.hidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(FakeSocket.all.length, 3);
    clock.pass(2_500);
    assert.equal(FakeSocket.all.length, 3);
  });

  test("does not happen after the page has closed the stream", () => {
    opened();
    FakeSocket.last.end(1006);
    stream.close();
    page.dispatchEvent(new Event("online"));
    clock.pass(60_000);
    assert.equal(FakeSocket.all.length, 1);
  });
});

describe("close codes", () => {
  for (const code of [4400, 4404]) {
    test(`${code} is final`, () => {
      opened();
      FakeSocket.last.end(code);
      clock.pass(60_000);
      assert.deepEqual(details("refused"), [code]);
      assert.equal(FakeSocket.all.length, 1);
    });
  }

  test("4401 is final at the second time", () => {
    opened();
    FakeSocket.last.end(4401);
    assert.deepEqual(details("refused"), []);
    clock.pass(1_000);
    FakeSocket.last.end(4401);
    clock.pass(60_000);
    assert.deepEqual(details("refused"), [4401]);
    assert.equal(FakeSocket.all.length, 2);
  });

  test("4404 after a 4401 means that the text is of another sign-in", () => {
    opened();
    FakeSocket.last.end(4401);
    clock.pass(1_000);
    FakeSocket.last.end(4404);
    assert.deepEqual(details("refused"), [4401]);
  });

  test("4401 is asked about anew once the text was let in", () => {
    opened();
    for (let time = 0; time < 3; time++) {
      FakeSocket.last.end(4401);
      clock.pass(1_000);
      FakeSocket.last.receive(snapshot());
    }
    assert.deepEqual(details("refused"), []);
  });

  test("4429 comes back after 10 to 20 s, and nothing hurries it", () => {
    opened();
    FakeSocket.last.end(4429);
    assert.deepEqual(details("crowded"), [15]);
    page.dispatchEvent(new Event("online"));
    clock.pass(14_999);
    assert.equal(FakeSocket.all.length, 1);
    clock.pass(1);
    assert.equal(FakeSocket.all.length, 2);
  });
});

describe("what the page sends", () => {
  test("a stop goes out at once on an open socket", () => {
    opened();
    FakeSocket.last.receive(snapshot());
    stream.cancel();
    assert.deepEqual(FakeSocket.last.sent, [{ type: "cancel" }]);
  });

  test("a stop waits for the socket, and is repeated after a reconnect", () => {
    opened();
    stream.cancel();
    assert.deepEqual(FakeSocket.last.sent, []);
    FakeSocket.last.receive(snapshot());
    assert.deepEqual(FakeSocket.last.sent, [{ type: "cancel" }]);
    FakeSocket.last.end(1006);
    clock.pass(300);
    FakeSocket.last.receive(snapshot());
    assert.deepEqual(FakeSocket.last.sent, [{ type: "cancel" }]);
  });

  test("characters are confirmed by the thousand, and at most every 250 ms", () => {
    opened();
    const socket = FakeSocket.last;
    socket.receive(snapshot());
    socket.receive(chars(0, "a".repeat(999)));
    assert.deepEqual(socket.sent, []);
    socket.receive(chars(999, "b"));
    assert.deepEqual(socket.sent, [{ type: "ack", offset: 1000 }]);
    socket.receive(chars(1000, "c".repeat(3000)));
    assert.equal(socket.sent.length, 1);
    clock.pass(250);
    assert.deepEqual(socket.sent[1], { type: "ack", offset: 4000 });
  });
});
