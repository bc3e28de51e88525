// The small modules of the pages: counter, times, speed, shortcut, pace, active, copy.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, describe, test } from "node:test";

import { FakeElement, clock, define, happening, settled, stored } from "./browser.mjs";

import { Active } from "../../static/js/active.js";
import { copyButtons } from "../../static/js/copy.js";
import { countCharacters } from "../../static/js/counter.js";
import { PACES, rateOf, remember, remembered } from "../../static/js/pace.js";
import { meansPace, submitOnShortcut } from "../../static/js/shortcut.js";
import { Speed } from "../../static/js/speed.js";
import { relative } from "../../static/js/times.js";

describe("the counter of a prompt", () => {
  const counted = (value) => {
    const counter = new FakeElement();
    countCharacters(new FakeElement({ value, dataset: { limit: "10" } }), counter);
    return counter;
  };

  test("appears at four fifths of the limit", () => {
    assert.equal(counted("a".repeat(7)).hidden, true);
    assert.equal(counted("a".repeat(8)).hidden, false);
  });

  test("counts code points, as the server does", () => {
    assert.equal(counted("𠮷😀".repeat(6)).textContent, "12 of 10");
  });

  test("keeps up with typing", () => {
    const field = new FakeElement({ value: "", dataset: { limit: "10" } });
    const counter = new FakeElement();
    countCharacters(field, counter);
    field.value = "a".repeat(9);
    field.dispatchEvent(new Event("input"));
    assert.deepEqual([counter.hidden, counter.textContent], [false, "9 of 10"]);
  });
});

test("a time is told in the largest unit that has passed at least once", () => {
  const now = Date.parse("2026-06-15T12:00:00Z");
  const before = (seconds) => relative(new Date(now - seconds * 1000), now);
  assert.deepEqual(
    [0, 59, 60, 3599, 3600, 86399, 86400, 172800].map(before),
    ["just now", "just now", "1 minute ago", "59 minutes ago", "1 hour ago", "23 hours ago",
      "yesterday", "2 days ago"],
  );
});

describe("the speed", () => {
  test("is measured from the first characters of this page, after a quarter of a second", () => {
    const speed = new Speed();
    assert.equal(speed.at(1000, 0), null);
    assert.equal(speed.at(1100, 250), null);
    assert.equal(speed.at(1500, 500), 1000);
  });

  test("starts anew with another text", () => {
    const speed = new Speed();
    speed.at(0, 0);
    speed.clear();
    assert.equal(speed.at(1000, 1000), null);
    assert.equal(speed.at(1300, 2000), 300);
  });
});

describe("the shortcut", () => {
  const sends = (given) => {
    let sent = 0;
    const form = new FakeElement({ requestSubmit: () => sent++ });
    submitOnShortcut(form);
    form.dispatchEvent(happening("keydown", given));
    return sent === 1;
  };

  test("is Enter with Ctrl or Cmd", () => {
    assert.equal(sends({ key: "Enter", ctrlKey: true }), true);
    assert.equal(sends({ key: "Enter", metaKey: true }), true);
    assert.equal(sends({ key: "Enter" }), false);
    assert.equal(sends({ key: "a", ctrlKey: true }), false);
  });

  test("sends once, and nothing while characters are composed", () => {
    assert.equal(sends({ key: "Enter", ctrlKey: true, repeat: true }), false);
    assert.equal(sends({ key: "Enter", ctrlKey: true, isComposing: true }), false);
  });
});

describe("the keys of the pace", () => {
  const inside = (...selectors) => ({
    closest: (wanted) => wanted.split(", ").some((one) => selectors.includes(one)) || null,
  });
  const means = (key, target = inside(), given = {}) =>
    meansPace({ key, target, ...given });

  test("are the space bar, the right arrow and End", () => {
    assert.deepEqual([" ", "ArrowRight", "End"].map((key) => means(key)),
      ["pause", "step", "show-all"]);
    assert.equal(means("a"), "");
    assert.equal(means(" ", document), "pause"); // it has no `closest` that finds anything
  });

  test("belong to a field that has the focus, the space bar also to a button", () => {
    for (const field of ["input", "select", "textarea", "[contenteditable]"]) {
      for (const key of [" ", "ArrowRight", "End"]) assert.equal(means(key, inside(field)), "");
    }
    assert.equal(means(" ", inside("button")), "");
    assert.equal(means(" ", inside("summary")), "");
    assert.equal(means("ArrowRight", inside("button")), "step");
  });

  test("mean nothing with another key, or where something else has used them", () => {
    for (const other of ["ctrlKey", "altKey", "metaKey", "shiftKey", "isComposing",
      "defaultPrevented"]) assert.equal(means("End", inside(), { [other]: true }), "");
    assert.equal(means(" ", inside(), { repeat: true }), "");
    assert.equal(means("ArrowRight", inside(), { repeat: true }), "step");
  });
});

describe("the pace", () => {
  test("is 60 characters a second, until the reader chooses another", () => {
    stored.clear();
    assert.equal(rateOf(remembered()), 60);
    remember("250");
    assert.equal(rateOf(remembered()), 250);
    remember("instant");
    assert.equal(rateOf(remembered()), Infinity);
  });

  test("that nobody can choose is not used", () => {
    stored.set("pace", "1e9");
    assert.equal(remembered(), "60");
  });

  test("is kept for the page where a browser stores nothing", () => {
    const storage = globalThis.localStorage;
    define("localStorage", undefined);
    remember("15");
    assert.equal(remembered(), "60");
    define("localStorage", storage);
  });

  test("has the steps that the page offers", async () => {
    const template = new URL("../../templates/generator/_output.html", import.meta.url);
    const options = (await readFile(template, "utf8")).matchAll(/<option value="(\w+)"/g);
    assert.deepEqual(Array.from(options, ([, pace]) => pace), PACES);
  });
});

describe("Stop of a text in the list", () => {
  let status;
  let sent;
  let said;
  let place;
  let button;
  let active;

  define("fetch", async (url) => {
    sent.push(url);
    return new Response("{}", { status });
  });

  beforeEach(() => {
    [sent, said] = [[], []];
    const row = new FakeElement({ remove: () => delete place.parts.li });
    place = new FakeElement({ parts: { li: row } });
    button = new FakeElement({ formAction: "/generations/1/cancel/", closest: () => row });
    const token = new FakeElement({ value: "token" });
    const form = new FakeElement({ elements: { namedItem: () => token } });
    active = new Active(place, form, {
      stopped: () => said.push("stopped"),
      say: (sentence) => said.push(sentence),
    });
  });

  for (const fine of [200, 404]) {
    test(`takes the text off the list when the server answers ${fine}`, async () => {
      status = fine;
      await active.stop(button);
      assert.deepEqual(sent, ["/generations/1/cancel/"]);
      assert.deepEqual(said, ["stopped"]);
      assert.equal(place.hidden, true);
    });
  }

  test("that fails says why, and can be pressed again", async () => {
    status = 500;
    await active.stop(button);
    assert.match(said[0], /^The server failed/);
    assert.notEqual(place.parts.li, undefined);
    assert.equal(button.getAttribute("aria-disabled"), null);
  });

  test("that was pressed twice is sent once", async () => {
    status = 200;
    await Promise.all([active.stop(button), active.stop(button)]);
    assert.equal(sent.length, 1);
  });
});

describe("a copy", () => {
  let copied;
  let works;

  const press = async (what) => {
    const button = new FakeElement({ dataset: { copy: what }, textContent: "Copy" });
    const announce = new FakeElement();
    const sheet = new FakeElement({
      lists: { "[data-copy]": [button] },
      parts: {
        "[data-announce]": announce,
        "[data-prompt]": new FakeElement({ textContent: "It was " }),
        "[data-text]": new FakeElement({ textContent: "a dark night" }),
      },
    });
    copyButtons(sheet);
    button.dispatchEvent(new Event("click"));
    await settled();
    return [button, announce];
  };

  beforeEach(() => {
    works = true;
    navigator.clipboard = {
      writeText: async (text) => {
        if (!works) throw new Error("not allowed");
        copied = text;
      },
    };
  });

  test("of the text begins with its prompt", async () => {
    await press("text");
    assert.equal(copied, "It was a dark night");
  });

  test("of the link is the page's address", async () => {
    await press("link");
    assert.equal(copied, location.href);
  });

  test("says so on its button for a while, and to screen readers", async () => {
    const [button, announce] = await press("text");
    assert.deepEqual([button.textContent, announce.textContent], ["Copied", "Copied"]);
    clock.pass(1_600);
    assert.equal(button.textContent, "Copy");
  });

  test("that failed says so", async () => {
    works = false;
    const [button] = await press("text");
    assert.equal(button.textContent, "Copying failed");
  });
});
