// static/js/client-key.js: when two submits are the same one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeElement, happening, page } from "./browser.mjs";

import { keepClientKey, newKeysOnReturn } from "../../static/js/client-key.js";

/** Return a form with an empty key, and the field that holds it. */
function formWithKey() {
  const field = new FakeElement();
  return [new FakeElement({ elements: { namedItem: () => field } }), field];
}

test("a key is 32 hexadecimal digits, and no two are the same", () => {
  const [form, field] = formWithKey();
  const renew = keepClientKey(form);
  const keys = Array.from({ length: 100 }, () => (renew(), field.value));
  for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/);
  assert.equal(new Set(keys).size, 100);
});

test("a form keeps its key until it is changed", () => {
  const [form, field] = formWithKey();
  keepClientKey(form);
  const first = field.value;
  form.dispatchEvent(new Event("submit"));
  assert.equal(field.value, first);
  form.dispatchEvent(new Event("input"));
  assert.notEqual(field.value, first);
});

test("a page gets new keys when the browser restores it, not when it loads", () => {
  const fields = [new FakeElement({ value: "one" }), new FakeElement({ value: "two" })];
  document.lists['input[name="client_key"]'] = fields;
  newKeysOnReturn();
  page.dispatchEvent(happening("pageshow", { persisted: false }));
  assert.deepEqual(fields.map((field) => field.value), ["one", "two"]);
  page.dispatchEvent(happening("pageshow", { persisted: true }));
  for (const field of fields) assert.match(field.value, /^[0-9a-f]{32}$/);
  assert.notEqual(fields[0].value, fields[1].value);
});
