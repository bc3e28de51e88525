// Tells times as the reader counts them: in their own zone, and how long ago.

const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const ago = new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" });
const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });

export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-absolute]")) time.textContent = clock.format(new Date(time.dateTime));
  for (const time of root.querySelectorAll("time[data-relative]")) {
    time.textContent = relative(new Date(time.dateTime));
    time.title = clock.format(new Date(time.dateTime));
  }
}

function relative(date) {
  const seconds = (Date.now() - date) / 1000;
  const step = STEPS.find(([, size]) => seconds >= size);
  return step ? ago.format(-Math.floor(seconds / step[1]), step[0]) : "just now";
}
