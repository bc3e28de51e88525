// static/js/reveal.js and backlog.js: characters appear in order, evenly, and soon.

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

  test("shows characters as they come with reduced motion", () => {
    motion.matches = true;
    reveal.add("at once");
    assert.equal(shown(), "at once");
  });

  test("shows all when the page is hidden, and what comes then", () => {
    reveal.add("before, ");
    document.hidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(shown(), "before, ");
    reveal.add("after");
    assert.equal(shown(), "before, after");
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
