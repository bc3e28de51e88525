// A text's own page: goes on where the server left it, and completes the details when it ends.

import { newKeysOnReturn } from "./client-key.js";
import { closableQuestions } from "./confirm.js";
import { copyButtons } from "./copy.js";
import { enhance } from "./enhance.js";
import { Output } from "./output.js";
import { refreshParts } from "./refresh.js";
import { grouped } from "./sentences.js";

const element = document.querySelector("[data-output]");
const address = location.pathname;

enhance();
closableQuestions();
copyButtons(element);
newKeysOnReturn();
// After a reload the entries that the desk's script made lead to this very page, at the desk's address.
addEventListener("popstate", () => location.pathname !== address && location.reload());

if (element.dataset.socket !== "ended") {
  const output = new Output(element, element.querySelector("[data-next]"));
  const { socketPath, offset, length, state } = element.dataset;
  output.addEventListener("state", () => refreshParts(location.href, ["details"]));
  output.addEventListener("position", (event) => (document.querySelector("[data-written]").textContent = grouped(event.detail)));
  output.addEventListener("end", () => refreshParts(location.href, ["details", "facts"]));
  output.listen(socketPath, { position: Number(offset), length, state });
}
