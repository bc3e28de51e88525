// static/js/sentences.js and isolate.js: what the page says, beside words that are not ours.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import "./browser.mjs";

import { isolated, tamed, visible } from "../../static/js/isolate.js";
import * as sentences from "../../static/js/sentences.js";

describe("numbers", () => {
  test("are grouped as the server groups them", () => {
    assert.equal(sentences.characters(12345), "12,345 characters");
    assert.equal(sentences.written(1000, 20000), "1,000 of 20,000");
    assert.equal(sentences.showing(1000, 20000), "Showing 1,000 of 20,000");
    assert.equal(sentences.speed(1540.4, false), ", 1,540 a second");
    assert.equal(sentences.speed(1540.4, true), ", written at 1,540 a second");
  });

  test("one character is singular", () => {
    assert.equal(sentences.characters(1), "1 character");
    assert.equal(sentences.characters(0), "0 characters");
  });

  test("a speed that is unknown is not mentioned", () => {
    assert.equal(sentences.rate(0), "");
    assert.equal(sentences.rate(1999.6), "2,000 characters a second");
  });
});

describe("the status", () => {
  const now = (given) => sentences.underWay({ state: "running", note: "", ...given });

  test("says first that the reader stops, then the server's note, then that it generates", () => {
    assert.equal(now({ stopping: true, note: "Fetching" }), "Stopping…");
    assert.equal(now({ note: "Fetching" }), "Fetching");
    assert.equal(now({}), "Generating");
    assert.equal(now({ state: "queued" }), "");
  });

  test("of a paused or written text says so", () => {
    assert.equal(now({ paused: true, note: "Fetching" }), "Paused");
    assert.equal(now({ paused: true, stopping: true }), "Stopping…");
    assert.equal(now({ ended: "done" }), "Written");
    assert.equal(now({ ended: "cancelled", stopping: true }), "Stopped");
    assert.equal(now({ ended: "failed" }), "Failed");
    assert.equal(now({ ended: "done", paused: true }), "Paused");
  });

  test("names the place in the queue where it is known", () => {
    assert.equal(sentences.waiting(3), "Waiting for a worker (place 3)");
    assert.equal(sentences.waiting(null), "Waiting for a worker");
  });

  test("at the end says how it ended and after how many characters", () => {
    const end = (given) => sentences.ended({ length: 400, error: "", ...given });
    assert.equal(end({ state: "done", finish_reason: "length" }), "Done, 400 characters");
    assert.equal(
      end({ state: "done", finish_reason: "stop" }),
      "Done at a stop string, 400 characters",
    );
    assert.equal(end({ state: "cancelled" }), "Stopped after 400 characters");
    assert.equal(end({ state: "failed" }), "Failed after 400 characters");
    assert.equal(
      end({ state: "failed", error: "It broke." }),
      "Failed after 400 characters: \u2068It broke.\u2069",
    );
  });

  test("has a sentence of its own for each final close code", () => {
    const said = [4400, 4401, 4404].map(sentences.refused);
    assert.equal(new Set(said).size, 3);
  });
});

describe("foreign text", () => {
  test("in a sentence stands on one line and cannot turn the words around it", () => {
    assert.equal(isolated(" be\u202e \n\u2066turned\u2069\u2069 "), "\u2068be turned\u2069");
  });

  test("in a text keeps every character, with each control of direction in a box", () => {
    const nodes = tamed("a\u202eb\u2066\u2069");
    assert.equal(nodes.map((node) => node.textContent ?? node).join(""), "a\u202eb\u2066\u2069");
    const boxes = nodes.filter((node) => node.className === "control");
    assert.deepEqual(boxes.map((box) => box.textContent), ["\u202e", "\u2066", "\u2069"]);
  });

  test("is named by its number where it cannot be seen", () => {
    assert.deepEqual(["a", "☃", "😀"].map(visible), ["a", "☃", "😀"]);
    assert.deepEqual([" ", "\u202e", "\u{e0001}"].map(visible), ["U+0020", "U+202E", "U+E0001"]);
  });
});
