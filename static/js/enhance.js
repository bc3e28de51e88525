// What every page with scripts gets: times in the reader's zone, and the controls that only a script can serve.

import { localTimes } from "./times.js";

export function enhance() {
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
  localTimes();
  setInterval(localTimes, 60000);
}
