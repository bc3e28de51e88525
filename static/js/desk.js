// The desk: sends a prompt, shows the text in its place and at the text's own address, and
// continues it.

import { Active } from "./active.js";
import { keepClientKey } from "./client-key.js";
import { copyButtons } from "./copy.js";
import { countCharacters } from "./counter.js";
import { enhance } from "./enhance.js";
import { clearErrors, showAlert, showErrors, unreadableNumbers } from "./errors.js";
import { foldable } from "./fold.js";
import { isolated, tamed } from "./isolate.js";
import { Output } from "./output.js";
import { post } from "./post.js";
import { refreshParts } from "./refresh.js";
import { Retry } from "./retry.js";
import * as sentences from "./sentences.js";
import { submitOnShortcut } from "./shortcut.js";
import { showUnknown } from "./unknown.js";

const form = document.querySelector("[data-desk]");
const againForm = document.querySelector("[data-again-form]");
const element = document.querySelector("[data-output]");
const part = (name) => document.querySelector(`[data-${name}]`);
const output = new Output(element, part("submit"));
const renewKey = keepClientKey(form);
const renewAgainKey = keepClientKey(againForm);
const retry = new Retry(part("retry"));
const active = new Active(part("active"), form, {
  stopped: () => retry.over(),
  say: (sentence) => showAlert(form, sentence),
});
const deskAddress = form.dataset.desk;
let current = null; // {url, prompt, length, continues} of the text on the sheet
let shown = location.pathname; // the address of what this page shows
let sending = false;

enhance();
copyButtons(element);
submitOnShortcut(form);
foldable(part("settings-toggle"), part("settings-body"));
restoreDraft();
countCharacters(part("prompt-field"), part("counter"));
part("edit").addEventListener("click", () => {
  history.pushState(null, "", deskAddress);
  write();
});
addEventListener("popstate", () => {
  if (location.pathname === shown) return; // a jump within the page
  if (location.pathname === deskAddress) write();
  else location.reload();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter?.dataset.cancel) active.stop(event.submitter);
  else if (!part("settings").disabled) send();
});
againForm.addEventListener("submit", (event) => {
  event.preventDefault();
  again(event.submitter.value);
});
output.addEventListener("written", () => (part("settings").disabled = false));
output.addEventListener("end", () => refreshParts(current.url, ["facts"]));
output.addEventListener("refused", () => (part("settings").disabled = false));

/** Send the form. An `automatic` try leaves focus and scrolling alone: nobody pressed anything. */
async function send(automatic = false) {
  const unreadable = unreadableNumbers(form);
  if (Object.keys(unreadable).length) {
    clearErrors(form);
    return showErrors(form, unreadable, "");
  }
  const value = (name) => form.elements.namedItem(name).value; // `elements.length` would be a count
  const body = new FormData(form);
  const text = { prompt: value("prompt"), length: Number(value("length")) };
  if (form.dataset.mode === "writing") return sendTo(form.action, body, text, send, automatic);
  // Here an empty version is the live one; without any the text would stay with that of its parent.
  const { live } = form.elements.namedItem("version").dataset;
  if (!value("version")) body.set("version", live);
  text.prompt = current.prompt + output.whole();
  await sendTo(`${current.url}continue/`, body, { ...text, continues: true }, send, automatic);
}

/**
 * Write the text on the sheet again, with its own settings.
 * @param {string} seed "same" or "new"
 */
async function again(seed, automatic = false) {
  const body = new FormData(againForm);
  body.set("seed", seed);
  const resend = (later) => again(seed, later);
  await sendTo(againForm.action, body, current, resend, automatic);
}

async function sendTo(url, body, text, resend, automatic) {
  if (sending) return;
  sending = true;
  clearErrors(form);
  if (!automatic && !text.continues) toTop(); // at the reader's touch, so that nothing moves when the answer comes
  form.setAttribute("aria-busy", "true");
  const answer = await post(url, body);
  form.removeAttribute("aria-busy");
  sending = false;
  if (!answer.ok) return refuse(answer, resend, automatic);
  retry.clear();
  active.show();
  renewKey();
  renewAgainKey();
  current = { ...text, url: answer.data.url };
  read(answer.data);
}

function refuse({ status, data, message, retryAfter }, resend, automatic) {
  if (status === 409) {
    renewKey();
    renewAgainKey();
  }
  const errors = data.errors ?? {};
  if (errors.prompt) write();
  if (errors.parent) form.elements.namedItem("parent").value = ""; // deleted: go on without it
  const unsaid = !message && !Object.keys(errors).length;
  showErrors(form, errors, unsaid ? sentences.REFUSED : message, !automatic);
  active.show(data.active);
  const sendable = () => showAlert(form, sentences.SENDABLE);
  if (retryAfter) retry.offer(retryAfter, () => resend(true), sendable);
  else retry.clear();
}

/** Show the sheet on which the text grows. */
function read({ id, url, socket, seed }) {
  if (location.pathname === deskAddress) keepDraft();
  history.pushState(null, "", url);
  shown = location.pathname;
  document.title = `${titleOf(current.prompt)} – CharRNN Live`;
  form.dataset.mode = "reading";
  form.elements.namedItem("parent").value = id; // the parent of what is sent next
  part("submit").textContent = "Continue";
  part("writing").hidden = true;
  part("settings").disabled = true;
  if (part("recent")) part("recent").hidden = true;
  element.hidden = false;
  element.querySelector("[data-prompt]").replaceChildren(...tamed(current.prompt));
  showUnknown(part("unknown"), "");
  againForm.action = `${url}again/`;
  part("facts").replaceChildren();
  part("permalink").href = url;
  part("seed").textContent = seed;
  part("status").textContent = "Starting";
  if (!current.continues) toTop();
  element.focus({ preventScroll: true });
  output.listen(socket, { length: current.length, asked: true });
}

/** Keep the form in the desk's history entry: after a reload of a text, Back loads a new desk. */
function keepDraft() {
  const { csrfmiddlewaretoken, client_key, ...draft } = Object.fromEntries(new FormData(form));
  history.replaceState({ draft }, "");
}

function restoreDraft() {
  const draft = history.state?.draft ?? {};
  for (const [name, value] of Object.entries(draft)) form.elements.namedItem(name).value = value;
}

function toTop() {
  scrollTo({ top: 0, behavior: "instant" });
}

function titleOf(prompt) {
  const start = Array.from(prompt.trim()).slice(0, 60).join("");
  return start ? isolated(start) : "A text";
}

/** Show the prompt again, to change it. */
function write() {
  output.close();
  retry.clear();
  active.show();
  shown = location.pathname;
  document.title = "CharRNN Live";
  form.dataset.mode = "writing";
  part("submit").textContent = "Continue the text";
  part("settings").disabled = false;
  element.hidden = true;
  part("writing").hidden = false;
  if (part("recent")) part("recent").hidden = false;
  refreshParts(deskAddress, ["recent"]);
  part("prompt-field").focus();
}
