// static/js/follow.js: when the page scrolls along with a text.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { FakeElement, clock, define, page } from "./browser.mjs";

import { Follow } from "../../static/js/follow.js";

const BAR = 700; // px from the upper edge of the window, where the bar begins
let height; // px of the text
let follow;
let jump;

/** An element whose edges are so far from the upper edge of the window. */
const at = (top, bottom = top) =>
  new FakeElement({ getBoundingClientRect: () => ({ top: top(), bottom: bottom() }) });

define("scrollY", 0);
define("scrollBy", ({ top }) => scrolled(scrollY + top));

function scrolled(y) {
  scrollY = y;
  page.dispatchEvent(new Event("scroll"));
}

/** Let the text grow to `px`, and the frames pass in which the page may scroll. */
function grow(px) {
  height = px;
  follow.grown();
  clock.pass(100);
}

beforeEach(() => {
  [scrollY, height] = [0, 100];
  jump = new FakeElement();
  const bars = [at(() => BAR, () => 800), new FakeElement({ hidden: true })];
  follow = new Follow(at(() => height - scrollY), bars, jump);
});

const endIsVisible = () => height - scrollY <= BAR;

describe("a text that grows", () => {
  test("is followed to its end", () => {
    follow.start(true);
    grow(1_000);
    assert.ok(endIsVisible());
    grow(2_000);
    assert.ok(endIsVisible());
    assert.equal(jump.hidden, true);
  });

  test("is still followed when the reader scrolls down, short of what has come meanwhile", () => {
    follow.start(true);
    grow(1_000);
    height = 3_000;
    scrolled(scrollY + 50);
    grow(3_100);
    assert.ok(endIsVisible());
  });

  test("does not scroll the page while its end is visible", () => {
    follow.start(true);
    grow(BAR);
    assert.equal(scrollY, 0);
  });

  test("is followed unasked only if its end is visible", () => {
    height = 2_000;
    follow.start(false);
    grow(3_000);
    assert.equal(scrollY, 0);
    assert.equal(jump.hidden, false);
  });
});

describe("a reader who scrolls up", () => {
  beforeEach(() => {
    follow.start(true);
    grow(2_000);
    scrolled(500);
  });

  test("stays there, and is offered the way back", () => {
    grow(3_000);
    assert.equal(scrollY, 500);
    assert.equal(jump.hidden, false);
  });

  test("is taken to the end by the offer, and along from then on", () => {
    jump.dispatchEvent(new Event("click"));
    assert.ok(endIsVisible());
    grow(3_000);
    assert.ok(endIsVisible());
  });

  test("is taken along again after scrolling to the end", () => {
    scrolled(1_400);
    assert.equal(jump.hidden, true);
    grow(3_000);
    assert.ok(endIsVisible());
  });

  test("is not taken along by scrolling down a little", () => {
    scrolled(600);
    grow(3_000);
    assert.equal(scrollY, 600);
  });
});

describe("the end of the text", () => {
  test("brings what stands below it into view for a reader at the end", () => {
    follow.start(true);
    grow(1_000);
    const before = scrollY;
    follow.finish(at(() => 0, () => 850));
    clock.pass(100);
    assert.equal(scrollY, before + 50);
  });

  test("scrolls nothing for a reader who is elsewhere, and takes the offer away", () => {
    follow.start(true);
    grow(2_000);
    scrolled(500);
    follow.finish(at(() => 0, () => 850));
    clock.pass(100);
    assert.equal(scrollY, 500);
    assert.equal(jump.hidden, true);
  });
});
