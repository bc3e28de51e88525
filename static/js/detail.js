// A text's own page: goes on where the server left it, and completes the details when it ends.

import { newKeysOnReturn } from "./client-key.js";
import { closableQuestions } from "./confirm.js";
import { copyButtons } from "./copy.js";
import { enhance } from "./enhance.js";
import { Output } from "./output.js";
import { refreshParts } from "./refresh.js";

const element = document.querySelector("[data-output]");

enhance();
closableQuestions();
copyButtons(element);
newKeysOnReturn();

if (element.dataset.socket !== "ended") {
  const output = new Output(element);
  const { socketPath, offset, length, state } = element.dataset;
  output.addEventListener("end", () => refreshParts(location.href, ["details", "facts"]));
  output.listen(socketPath, { position: Number(offset), length, state });
}
