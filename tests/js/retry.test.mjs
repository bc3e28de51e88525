// static/js/retry.js: the countdown to the next try.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { FakeElement, clock } from "./browser.mjs";

import { Retry } from "../../static/js/retry.js";

let wanted;
let seconds;
let row;
let calls;
let retry;

Math.random = () => 0.5;

beforeEach(() => {
  wanted = new FakeElement({ checked: false });
  seconds = new FakeElement();
  row = new FakeElement({
    hidden: true,
    parts: { "[data-retry-wanted]": wanted, "[data-retry-seconds]": seconds },
  });
  calls = [];
  retry = new Retry(row);
});

const offer = (wait) => retry.offer(wait, () => calls.push("send"), () => calls.push("over"));

test("the offer counts whole seconds down, with up to 2 s more than the server said", () => {
  offer(3);
  assert.equal(row.hidden, false);
  const seen = [];
  for (; !row.hidden; clock.pass(1_000)) seen.push(seconds.textContent);
  assert.deepEqual(seen, [4, 3, 2, 1]);
});

test("the form is sent at the end of the wait if the reader ticked the offer", () => {
  offer(3);
  clock.pass(3_900);
  wanted.checked = true;
  assert.deepEqual(calls, []);
  clock.pass(200);
  assert.deepEqual(calls, ["send"]);
  assert.equal(row.hidden, true);
});

test("else the reader is told that it can be sent", () => {
  offer(3);
  clock.pass(60_000);
  assert.deepEqual(calls, ["over"]);
});

test("a wait that is over early ends once", () => {
  offer(3);
  retry.over();
  clock.pass(60_000);
  assert.deepEqual(calls, ["over"]);
});

test("an offer that was withdrawn does nothing, and its tick is gone", () => {
  offer(3);
  wanted.checked = true;
  retry.clear();
  clock.pass(60_000);
  assert.deepEqual(calls, []);
  assert.equal(row.hidden, true);
  assert.equal(wanted.checked, false);
});

test("a second offer replaces the first", () => {
  offer(3);
  offer(30);
  clock.pass(10_000);
  assert.deepEqual(calls, []);
  clock.pass(30_000);
  assert.deepEqual(calls, ["over"]);
});
