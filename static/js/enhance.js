// What scripts do on every page: local times, fresh tokens, and controls that need a script.

import { localTimes } from "./times.js";
import { freshTokens } from "./token.js";

const MINUTE = 60000; // ms

/** Enhance the page. */
export function enhance() {
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
  freshTokens();
  localTimes();
  setInterval(localTimes, MINUTE);
}
