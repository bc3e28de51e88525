// A text's own page: follows the text from where the server left it, completes the details, and
// continues the text.

import { newKeysOnReturn } from "./client-key.js";
import { closableQuestions } from "./confirm.js";
import { copyButtons } from "./copy.js";
import { enhance } from "./enhance.js";
import { Output } from "./output.js";
import { refreshParts } from "./refresh.js";
import { grouped } from "./sentences.js";
import { submitOnShortcut } from "./shortcut.js";

const form = document.querySelector("[data-continue]");
const settings = form.querySelector("[data-settings]");
const element = document.querySelector("[data-output]");
const address = location.pathname;

enhance();
closableQuestions();
copyButtons(element);
newKeysOnReturn();
submitOnShortcut(form, document);
form.addEventListener("submit", (event) => settings.disabled && event.preventDefault());
// After a reload, the history entries that the desk's script made show this page at their address.
addEventListener("popstate", () => location.pathname !== address && location.reload());

if (element.dataset.socket !== "ended") {
  const output = new Output(element, element.querySelector("[data-next]"));
  const { socketPath, offset, length, state } = element.dataset;
  const refresh = (...names) => refreshParts(location.href, names);
  const written = () => document.querySelector("[data-written]"); // a refresh replaces it
  output.addEventListener("state", () => refresh("details"));
  output.addEventListener("position", ({ detail }) => (written().textContent = grouped(detail)));
  output.addEventListener("written", () => {
    settings.disabled = false;
    refresh("details");
  });
  output.addEventListener("end", () => refresh("details", "facts"));
  output.listen(socketPath, { position: Number(offset), length, state });
}
