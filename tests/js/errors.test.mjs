// static/js/errors.js: where the sentences of a refusal stand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeElement } from "./browser.mjs";

import { showAlert, sortErrors, unreadableNumbers } from "../../static/js/errors.js";

const FIELDS = new Set(["prompt", "length"]);

test("a field's sentences stand at the field", () => {
  const { atFields, rest } = sortErrors({ length: ["Too long.", "Shorten it."] }, "", FIELDS);
  assert.deepEqual(atFields, [["length", "Too long. Shorten it."]]);
  assert.equal(rest, "");
});

test("sentences about something without a place follow the message", () => {
  const { atFields, rest } = sortErrors({ parent: ["It is gone."] }, "Refused.", FIELDS);
  assert.deepEqual(atFields, []);
  assert.equal(rest, "Refused. It is gone.");
});

test("what is about the whole form is said once, by the message", () => {
  const { rest } = sortErrors({ __all__: ["Too many."] }, "Too many.", FIELDS);
  assert.equal(rest, "Too many.");
});

test("a number field with other characters in it has its rule as an error", () => {
  const form = {
    elements: [
      { name: "length", validity: { badInput: true }, dataset: { rule: "A whole number." } },
      { name: "top_k", validity: { badInput: false }, dataset: { rule: "A whole number." } },
      { name: "submit" },
    ],
  };
  assert.deepEqual(unreadableNumbers(form), { length: ["A whole number."] });
});

test("the alert is there only with a sentence", () => {
  const alert = new FakeElement({ hidden: true });
  const form = new FakeElement({ parts: { "[data-alert]": alert } });
  showAlert(form, "Too many.");
  assert.deepEqual([alert.textContent, alert.hidden], ["Too many.", false]);
  showAlert(form, "");
  assert.deepEqual([alert.textContent, alert.hidden], ["", true]);
});
