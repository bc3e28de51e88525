// static/js/reveal.js, backlog.js and sentence-end.js: characters appear in order, evenly, and soon
// or at the reader's pace.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { FakeElement, clock, motion, settled } from "./browser.mjs";

import { Backlog } from "../../static/js/backlog.js";
import { Reveal } from "../../static/js/reveal.js";

const WHOLE = /^(?:[^\ud800-\udfff]|[\ud800-\udbff][\udc00-\udfff])*$/; // no half characters
let element;
let reveal;
let states;

beforeEach(() => {
  document.hidden = motion.matches = false;
  element = new FakeElement();
  states = [];
  reveal = new Reveal(element, () => states.push(shown()));
});

const shown = () => element.children[0].data;

describe("the backlog", () => {
  test("gives everything back once, in order, whatever the steps", () => {
    const backlog = new Backlog();
    let text = "";
    for (let now = 0; now < 400; now += 16) {
      if (now < 200) backlog.add(`<${now}>`, now);
      text += backlog.takeDue(now, 16);
    }
    text += backlog.takeAll();
    assert.equal(text, Array.from({ length: 13 }, (_, index) => `<${index * 16}>`).join(""));
    assert.equal(backlog.length, 0);
  });

  test("takes the share of a step, at least one character", () => {
    const backlog = new Backlog();
    backlog.add("a".repeat(110), 0);
    assert.equal(backlog.takeDue(11, 11).length, 11);
    assert.equal(backlog.takeDue(11, 0).length, 1);
    assert.equal(backlog.length, 98);
  });

  test("takes all that has waited for more than 280 ms", () => {
    const backlog = new Backlog();
    backlog.add("old".repeat(20), 0);
    backlog.add("new", 270);
    assert.equal(backlog.takeDue(280, 0).length, 1);
    assert.equal(backlog.takeDue(281, 0), "old".repeat(20).slice(1));
    assert.equal(backlog.takeAll(), "new");
  });

  test("counts code points and splits none", () => {
    const backlog = new Backlog();
    backlog.add("𠮷😀a", 0);
    assert.equal(backlog.length, 3);
    assert.equal(backlog.takeDue(0, 0), "𠮷");
    assert.equal(backlog.takeDue(0, 0), "😀");
  });
});

describe("at a pace", () => {
  test("one character follows the other, whenever they arrived", () => {
    const backlog = new Backlog();
    backlog.add("a".repeat(100), 1000);
    assert.equal(backlog.takePaced(1000, 50).length, 1);
    assert.equal(backlog.takePaced(1019, 50).length, 0);
    assert.equal(backlog.takePaced(1020, 50).length, 1);
    assert.equal(backlog.takePaced(1100, 50).length, 4);
  });

  test("one long step shows what many short ones show, as in a hidden page", () => {
    const texts = [["a".repeat(30), 0], ["b".repeat(5), 2000], ["c".repeat(90), 2050]];
    const grown = (steps) => {
      const backlog = new Backlog();
      let text = "";
      for (const now of steps) {
        for (const [added, arrived] of texts) if (arrived === now) backlog.add(added, arrived);
        text += backlog.takePaced(now, 60);
      }
      return text;
    };
    const often = grown(Array.from({ length: 301 }, (_, index) => index * 10));
    const backlog = new Backlog();
    for (const [added, arrived] of texts) backlog.add(added, arrived);
    assert.equal(backlog.takePaced(3000, 60), often);
    assert.equal(often.length, 30 + 61);
  });

  test("a long text that a hidden page has missed comes in one step", () => {
    const backlog = new Backlog();
    backlog.add("a".repeat(20_000), 0);
    assert.equal(backlog.takePaced(1000 * 60, 60).length, 3601);
    assert.equal(backlog.takePaced(1000 * 600, 60).length, 20_000 - 3601);
    assert.equal(backlog.length, 0);
  });

  test("time that passes while nothing waits or in a pause is not made up for", () => {
    const backlog = new Backlog();
    backlog.add("ab", 0);
    backlog.takePaced(0, 10);
    backlog.resume(5000);
    backlog.add("c".repeat(20), 5000);
    assert.equal(backlog.takePaced(5000, 10), "b");
    assert.equal(backlog.takePaced(5200, 10), "cc");
  });

  test("no grapheme is split, whether it comes whole or in parts", () => {
    const family = "👨‍👩‍👧";
    for (const pieces of [["e\u0301", family, "x"], ["e", "\u0301👨", "\u200d👩\u200d👧x"]]) {
      const backlog = new Backlog();
      for (const piece of pieces) backlog.add(piece, 0);
      assert.deepEqual([0, 100].map((now) => backlog.takePaced(now, 10)), ["e\u0301", family]);
      assert.equal(backlog.length, 1);
      assert.equal(backlog.takePaced(200, 10), ""); // more of it may come
      backlog.end();
      assert.equal(backlog.takePaced(200, 10), "x");
    }
  });

  test("a last character does not wait for ever for what may belong to it", () => {
    const backlog = new Backlog();
    backlog.add("a", 0);
    assert.equal(backlog.takePaced(280, 60), "");
    assert.equal(backlog.takePaced(281, 60), "a");
  });

  test("a sentence comes when it is complete and those before it have had their time", () => {
    const backlog = new Backlog();
    backlog.add("“It is.” He we", 0);
    assert.equal(backlog.takePaced(0, 10, true), "“It is.” ");
    backlog.add("nt.\n\nNo", 100);
    assert.equal(backlog.takePaced(899, 10, true), "");
    assert.equal(backlog.takePaced(900, 10, true), "He went.\n\n");
    assert.equal(backlog.takePaced(9000, 10, true), "");
    backlog.end();
    assert.equal(backlog.takePaced(9000, 10, true), "No");
  });

  test("a sentence without an end is shown in pieces, at spaces", () => {
    const backlog = new Backlog();
    backlog.add(`${"word ".repeat(70)}`, 0);
    assert.equal(backlog.takeOne(0, true).length, 300);
    backlog.add("x".repeat(400), 0);
    assert.equal(backlog.takeOne(0, true), "word ".repeat(10));
    assert.equal(backlog.takeOne(0, true).length, 300);
  });

  test("Chinese and Japanese sentences end without a space", () => {
    const backlog = new Backlog();
    backlog.add("「山だ。」雨が降る。x", 0);
    assert.deepEqual([backlog.takeOne(0, true), backlog.takeOne(0, true)],
      ["「山だ。」", "雨が降る。"]);
  });
});

describe("the sheet", () => {
  test("grows by steps of whole characters, in order", () => {
    reveal.add("𠮷野の山😀".repeat(9));
    reveal.add("end");
    clock.pass(1_000);
    assert.ok(states.length > 3);
    for (const [index, state] of states.entries()) {
      assert.match(state, WHOLE);
      assert.ok(state.startsWith(states[index - 1] ?? ""));
    }
    assert.equal(shown(), `${"𠮷野の山😀".repeat(9)}end`);
  });

  test("shows a placed text at once, after what still waits", () => {
    reveal.add("first, ");
    reveal.place("second");
    assert.equal(shown(), "first, second");
    clock.pass(1_000);
    assert.equal(shown(), "first, second");
  });

  test("shows whole sentences with reduced motion", () => {
    motion.matches = true;
    reveal.add("He went. She sta");
    clock.pass(500);
    assert.equal(shown(), "He went. ");
    reveal.add("yed. And");
    clock.pass(500);
    assert.equal(shown(), "He went. She stayed. ");
    reveal.end();
    clock.pass(16);
    assert.equal(shown(), "He went. She stayed. And");
  });

  test("shows all when the page is hidden, and what comes then", () => {
    reveal.add("before, ");
    document.hidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(shown(), "before, ");
    reveal.add("after");
    assert.equal(shown(), "before, after");
  });

  test("a hidden page with a pace comes back where the pace is", () => {
    reveal.rate = 10;
    reveal.add("a".repeat(100));
    document.hidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(shown(), "");
    clock.pass(2_005);
    assert.equal(shown().length, 21);
  });

  test("stands still in a pause and goes on where it was", () => {
    reveal.rate = 10;
    reveal.add("a".repeat(100));
    clock.pass(1_005);
    const before = shown().length;
    reveal.paused = true;
    clock.pass(5_000);
    assert.equal(shown().length, before);
    reveal.step();
    assert.equal(shown().length, before + 1);
    reveal.paused = false;
    clock.pass(1_005);
    assert.ok(Math.abs(shown().length - before - 11) <= 1);
    reveal.rate = Infinity;
    clock.pass(300);
    assert.equal(shown().length, 100);
  });

  test("begins empty after a clear, also when something waited", () => {
    reveal.add("the text before");
    reveal.clear();
    clock.pass(1_000);
    assert.equal(shown(), "");
  });

  test("tells when nothing waits any more", async () => {
    let told = false;
    reveal.add("some characters");
    reveal.shown().then(() => (told = true));
    clock.pass(16);
    await settled();
    assert.equal(told, false);
    clock.pass(1_000);
    await settled();
    assert.equal(told, true);
    await reveal.shown(); // at once: nothing waits
  });
});
