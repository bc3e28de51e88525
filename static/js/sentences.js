// What the status line says.

export function characters(count) {
  return `${count} ${count === 1 ? "character" : "characters"}`;
}

export function waiting(place) {
  return place ? `Waiting for a worker (place ${place})` : "Waiting for a worker";
}

export const RECONNECTING = "Reconnecting…";

export function crowded(seconds) {
  return `Too many texts are open at once, on your pages or in your network. This page tries again in ${seconds} seconds.`;
}

export function ended({ state, finish_reason: reason, length, error }) {
  if (state === "done") return `${reason === "stop" ? "Done at a stop string" : "Done"}, ${characters(length)}`;
  if (state === "cancelled") return `Stopped after ${characters(length)}`;
  return `Failed after ${characters(length)}${error ? `: ${error}` : ""}`;
}

export function rate(number) {
  return number ? `${Math.round(number)} characters a second` : "";
}
