// static/js/output.js: what the sheet shows for each frame, and what the keys do.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { FakeElement, clock, define, happening, settled, stored } from "./browser.mjs";
import { FakeSocket, chars, end, snapshot } from "./socket.mjs";

import { Output } from "../../static/js/output.js";

const PARTS = [
  "after", "bar", "caret", "count", "jump", "pace", "pace-buttons", "pause", "progress",
  "show-all", "speed", "status", "step", "stop", "text", "unknown",
];
let sheet;
let part;
let output;
let next;

define("scrollY", 0);
define("scrollBy", () => {});
FakeElement.prototype.getBoundingClientRect = () => ({ top: 0, bottom: 0 }); // all in view

beforeEach(() => {
  stored.set("pace", "instant");
  document.activeElement = null;
  listen({ asked: true });
});

/** Show a text on a page that has just been loaded. */
function listen(given) {
  output?.close();
  const parts = PARTS.map((name) => [`[data-${name}]`, new FakeElement()]);
  sheet = new FakeElement({ parts: Object.fromEntries(parts) });
  part = (name) => sheet.querySelector(`[data-${name}]`);
  part("unknown").parts["[data-unknown-list]"] = new FakeElement();
  next = new FakeElement();
  output = new Output(sheet, next);
  output.listen("/ws/generations/1/", { length: 100, ...given });
}

const status = () => part("status").textContent;
const text = () => part("text").children[0].data;
const receive = (frame) => FakeSocket.last.receive(frame);
const press = (given) => document.dispatchEvent(happening("keydown", given));

describe("the text", () => {
  test("of a snapshot is there at once, that of later frames soon", () => {
    receive(snapshot("abc"));
    assert.equal(text(), "abc");
    receive(chars(3, "def"));
    assert.equal(text(), "abc");
    clock.pass(1_000);
    assert.equal(text(), "abcdef");
  });

  test("moves progress and count by code points", () => {
    receive(snapshot("𠮷野"));
    assert.equal(part("progress").value, 2);
    assert.equal(part("count").textContent, "2 of 100");
    receive(chars(2, "😀"));
    assert.equal(part("count").textContent, "3 of 100");
  });

  test("of another text replaces it", () => {
    receive(snapshot("abc"));
    output.listen("/ws/generations/2/", { length: 50 });
    assert.equal(text(), "");
    const [old, current] = FakeSocket.all.slice(-2);
    old.receive(chars(3, "def"));
    current.receive(snapshot("xyz"));
    assert.equal(text(), "xyz");
  });

  test("that the model partly does not know names those characters once", () => {
    receive(snapshot("a", 0, { unknown_characters: "☃😀☃" }));
    const names = part("unknown").parts["[data-unknown-list]"].children;
    assert.equal(names.map((one) => one.textContent ?? one).join(""), "☃ 😀");
    assert.equal(part("unknown").hidden, false);
  });
});

describe("the status", () => {
  test("mentions waiting only after a second", () => {
    receive(snapshot("", 0, { state: "queued", queue_position: 4 }));
    clock.pass(999);
    assert.equal(status(), "");
    clock.pass(1);
    assert.equal(status(), "Waiting for a worker (place 4)");
  });

  test("is Generating with the first characters", () => {
    receive(snapshot("", 0, { state: "queued", queue_position: 4 }));
    receive(chars(0, "a"));
    clock.pass(2_000);
    assert.equal(status(), "Generating");
  });

  test("is the server's own note where it sends one", () => {
    receive({ type: "alive", state: "queued", queue_position: 1, note: "Fetching the files" });
    assert.equal(status(), "Fetching the files");
  });

  test("says that it reconnects, and is as before afterwards", () => {
    receive(snapshot("abc"));
    FakeSocket.last.end(1006);
    assert.equal(status(), "Reconnecting…");
    clock.pass(300);
    receive(snapshot("d", 3));
    assert.equal(status(), "Generating");
  });

  test("says the end only when all characters are shown", async () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    receive(end(40, { stats: { characters_per_second: 1234.5 } }));
    await settled();
    assert.equal(status(), "Generating");
    clock.pass(1_000);
    await settled();
    assert.equal(text().length, 40);
    assert.equal(status(), "Done, 40 characters");
    assert.equal(part("speed").textContent, "1,235 characters a second");
    assert.equal(sheet.dataset.socket, "ended");
  });

  test("says why nothing more comes", () => {
    FakeSocket.last.end(4404);
    assert.equal(status(), "This text no longer exists, or it is not yours.");
    assert.equal(sheet.dataset.socket, "ended");
    assert.equal(part("stop").hidden, true);
  });
});

describe("at a reader's pace", () => {
  let written;

  beforeEach(() => {
    stored.set("pace", "60");
    listen({ asked: true });
    written = 0;
    output.addEventListener("written", () => written++);
  });

  test("what the server says about a text waits until it is shown", async () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    receive(end(40));
    await settled();
    assert.equal(written, 1);
    assert.equal(status(), "Written");
    assert.equal(sheet.dataset.state, "running");
    assert.equal(part("stop").getAttribute("aria-disabled"), "true");
    clock.pass(500);
    assert.equal(part("count").textContent, `Showing ${text().length} of 40`);
    assert.ok(text().length >= 28 && text().length <= 31, text());
    assert.equal(part("progress").value, text().length);
    clock.pass(500);
    await settled();
    assert.equal(status(), "Done, 40 characters");
    assert.equal(part("count").textContent, "");
    assert.equal(part("pace-buttons").hidden, true);
  });

  test("a text asked for begins at its first character, one opened later is there", () => {
    receive(snapshot("a".repeat(30)));
    clock.pass(32);
    assert.ok(text().length < 5);
    listen({ asked: false });
    receive(snapshot("a".repeat(30)));
    assert.equal(text().length, 30);
    FakeSocket.last.end(1006);
    clock.pass(300);
    receive(snapshot("b".repeat(30), 30)); // it went on while the line was broken
    clock.pass(32);
    assert.ok(text().length < 35);
  });

  test("a text that ended before the page heard of it is shown like any other", async () => {
    receive(snapshot("a".repeat(30), 0, { state: "done" }));
    receive(end(30));
    await settled();
    assert.equal(status(), "Written");
    assert.deepEqual([part("pace-buttons").hidden, part("after").hidden], [false, true]);
    clock.pass(1_000);
    await settled();
    assert.equal(status(), "Done, 30 characters");
  });

  test("what has come is confirmed, shown or not", () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(1000)));
    assert.deepEqual(FakeSocket.last.sent, [{ type: "ack", offset: 1000 }]);
    assert.equal(text(), "");
  });

  test("Escape stops the writing, ends a pause, and what was written is still shown", async () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    press({ key: " " });
    press({ key: "Escape" });
    assert.equal(status(), "Stopping…");
    receive(end(40, { state: "cancelled" }));
    await settled();
    assert.equal(status(), "Stopped");
    press({ key: "Escape" }); // nothing is left to stop
    assert.deepEqual(FakeSocket.last.sent, [{ type: "cancel" }]);
    clock.pass(1_000);
    await settled();
    assert.equal(status(), "Stopped after 40 characters");
    assert.equal(text().length, 40);
  });

  test("a pause holds the text, a step shows one character, and the space bar goes on", () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    press({ key: "ArrowRight" }); // not paused
    clock.pass(16);
    press({ key: " " });
    const before = text().length;
    assert.equal(status(), "Paused");
    assert.equal(part("pause").getAttribute("aria-pressed"), "true");
    clock.pass(1_000);
    assert.equal(text().length, before);
    press({ key: "ArrowRight" });
    press({ key: "ArrowRight", repeat: true });
    assert.equal(text().length, before + 2);
    press({ key: " " });
    assert.equal(status(), "Generating");
    clock.pass(2_000);
    assert.equal(text().length, 40);
  });

  test("End shows all there is, and the buttons do what the keys do", () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    part("pause").dispatchEvent(happening("click"));
    part("step").dispatchEvent(happening("click"));
    assert.equal(text().length, 1);
    press({ key: "End" });
    assert.equal(text().length, 40);
    receive(chars(40, "b".repeat(20)));
    part("show-all").dispatchEvent(happening("click"));
    assert.equal(text().length, 60);
    assert.equal(status(), "Paused");
  });

  test("a changed pace holds at once, and on later pages", () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    part("pace").value = "instant";
    part("pace").dispatchEvent(happening("input"));
    assert.equal(stored.get("pace"), "instant");
    clock.pass(300);
    assert.equal(text().length, 40);
  });

  test("the focus goes on when the buttons go", async () => {
    receive(snapshot(""));
    receive(chars(0, "a".repeat(40)));
    receive(end(40));
    await settled();
    part("show-all").focus();
    press({ key: "End" });
    await settled();
    assert.equal(document.activeElement, next);
  });
});

describe("Stop", () => {
  test("is there while the text is in progress, the other actions afterwards", async () => {
    receive(snapshot("abc"));
    assert.deepEqual([part("stop").hidden, part("after").hidden], [false, true]);
    receive(end(3, { state: "cancelled" }));
    await settled();
    assert.deepEqual([part("stop").hidden, part("after").hidden], [true, false]);
    assert.equal(status(), "Stopped after 3 characters");
  });

  test("is pressed by Escape, and says so until the end", () => {
    receive(snapshot("abc"));
    press({ key: "Escape" });
    assert.deepEqual(FakeSocket.last.sent, [{ type: "cancel" }]);
    assert.equal(part("stop").getAttribute("aria-disabled"), "true");
    receive(chars(3, "d"));
    assert.equal(status(), "Stopping…");
  });

  test("is not pressed by an Escape that means something else", () => {
    receive(snapshot("abc"));
    for (const other of ["isComposing", "repeat", "shiftKey", "ctrlKey", "altKey", "metaKey"]) {
      press({ key: "Escape", [other]: true });
    }
    const handled = happening("keydown", { key: "Escape" });
    handled.preventDefault();
    document.dispatchEvent(handled);
    press({ key: "Enter" });
    assert.deepEqual(FakeSocket.last.sent, []);
  });

  test("is not pressed by Escape after the end", async () => {
    receive(snapshot("abc"));
    receive(end(3));
    await settled();
    press({ key: "Escape" });
    assert.equal(status(), "Done, 3 characters");
  });

  test("hands its focus on when it goes", async () => {
    receive(snapshot("abc"));
    part("stop").focus();
    receive(end(3));
    await settled();
    assert.equal(document.activeElement, next);
  });

  test("leaves the focus alone when it does not have it", async () => {
    receive(snapshot("abc"));
    receive(end(3));
    await settled();
    assert.equal(document.activeElement, null);
  });
});
