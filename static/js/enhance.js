// What every page with scripts gets: times in the reader's zone, tokens that are not too old, and the controls that only a script can serve.

import { localTimes } from "./times.js";
import { freshTokens } from "./token.js";

export function enhance() {
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
  freshTokens();
  localTimes();
  setInterval(localTimes, 60000);
}
