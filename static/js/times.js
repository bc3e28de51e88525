// Shows times in the reader's own zone, and how long ago they were.

const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60]]; // seconds
const ago = new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" });
const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });

/**
 * Fill the `time` elements in `root`.
 * @param {ParentNode} root
 */
export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-absolute]")) {
    time.textContent = clock.format(new Date(time.dateTime));
  }
  for (const time of root.querySelectorAll("time[data-relative]")) {
    time.textContent = relative(new Date(time.dateTime), Date.now());
    time.title = clock.format(new Date(time.dateTime));
  }
}

/**
 * Return how long before `now` a date was, in the largest unit that fits at least once.
 * @param {Date} date
 * @param {number} now ms
 */
export function relative(date, now) {
  const seconds = (now - date) / 1000;
  const step = STEPS.find(([, size]) => seconds >= size);
  return step ? ago.format(-Math.floor(seconds / step[1]), step[0]) : "just now";
}
