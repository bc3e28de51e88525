// static/js/post.js and token.js: what becomes of an answer, and of a token that is too old.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { FakeElement, define, happening } from "./browser.mjs";

import { post } from "../../static/js/post.js";
import { freshTokens } from "../../static/js/token.js";

const NAME = "csrfmiddlewaretoken";
let answers;
let sent;
let body;

define("fetch", async (url, { body }) => {
  sent.push([url, body.get(NAME)]);
  const answer = answers.shift();
  if (answer instanceof Error) throw answer;
  return answer;
});

beforeEach(() => {
  [answers, sent, body] = [[], [], new FormData()];
  body.set(NAME, "old");
});

/** Return an answer of the server. */
function answer(status, data, headers = {}) {
  return new Response(typeof data === "string" ? data : JSON.stringify(data), { status, headers });
}

describe("an answer", () => {
  test("that is fine has its data and no message", async () => {
    answers = [answer(201, { url: "/generations/1/" })];
    assert.deepEqual(await post("/generations/", body), {
      ok: true, status: 201, data: { url: "/generations/1/" }, message: "", retryAfter: 0,
    });
  });

  test("about the whole form is said in the server's words", async () => {
    const errors = { __all__: ["Too many.", "Wait."] };
    answers = [answer(429, { errors }, { "Retry-After": "9" })];
    const { ok, message, retryAfter } = await post("/generations/", body);
    assert.deepEqual([ok, message, retryAfter], [false, "Too many. Wait.", 9]);
  });

  test("about fields has no message: the fields say it", async () => {
    answers = [answer(400, { errors: { length: ["Too long."] } })];
    const { message, data } = await post("/generations/", body);
    assert.deepEqual([message, data.errors], ["", { length: ["Too long."] }]);
  });

  test("that is no JSON still says that the server failed", async () => {
    answers = [answer(502, "<html>Bad gateway</html>")];
    const { status, message, data } = await post("/generations/", body);
    assert.deepEqual([status, data], [502, {}]);
    assert.match(message, /^The server failed \(error 502\)\./);
  });

  test("that never comes has the status 0", async () => {
    answers = [new TypeError("network")];
    const { ok, status, message } = await post("/generations/", body);
    assert.deepEqual([ok, status], [false, 0]);
    assert.match(message, /^The server cannot be reached\./);
  });

  test("with a date for a time to wait means none", async () => {
    answers = [answer(503, {}, { "Retry-After": "Fri, 01 Jan 2027 00:00:00 GMT" })];
    assert.equal((await post("/generations/", body)).retryAfter, 0);
  });
});

describe("a token that is too old", () => {
  test("is replaced, in the page's forms too, and the form sent once more", async () => {
    const field = new FakeElement({ value: "old" });
    document.lists[`input[name="${NAME}"]`] = [field];
    answers = [answer(403, { csrf_token: "new" }), answer(201, {})];
    assert.equal((await post("/generations/", body)).ok, true);
    assert.deepEqual(sent, [["/generations/", "old"], ["/generations/", "new"]]);
    assert.equal(field.value, "new");
  });

  test("is replaced only once", async () => {
    answers = [1, 2, 3].map(() => answer(403, { csrf_token: "new" }));
    const { status, message } = await post("/generations/", body);
    assert.equal(sent.length, 2);
    assert.equal(status, 403);
    assert.match(message, /too old/);
  });

  test("without a new one is an answer like others", async () => {
    answers = [answer(403, {})];
    assert.match((await post("/generations/", body)).message, /too old/);
    assert.equal(sent.length, 1);
  });

  test("is what a 403 means: after another status nothing is sent again", async () => {
    answers = [answer(409, { csrf_token: "new" })];
    await post("/generations/", body);
    assert.equal(sent.length, 1);
  });
});

describe("a form that is sent", () => {
  freshTokens();
  document.documentElement = new FakeElement({ dataset: { csrfCookie: "csrf_a" } });

  const submit = (target) => {
    const event = happening("submit");
    Object.defineProperty(event, "target", { value: target });
    document.dispatchEvent(event);
  };

  test("gets the token of this site's cookie", () => {
    document.cookie = "csrf_ab=other; csrf_a=fresh; session=1";
    const form = { elements: { [NAME]: { value: "old" } } };
    submit(form);
    assert.equal(form.elements[NAME].value, "fresh");
  });

  test("keeps its own where there is no cookie", () => {
    document.cookie = "csrf_ab=other";
    const form = { elements: { [NAME]: { value: "old" } } };
    submit(form);
    assert.equal(form.elements[NAME].value, "old");
  });

  test("needs no token: a search has none", () => {
    document.cookie = "csrf_a=fresh";
    const form = { elements: {} };
    submit(form);
    assert.deepEqual(form.elements, {});
  });
});
