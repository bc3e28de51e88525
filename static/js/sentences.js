// What the status line says.

import { isolated } from "./isolate.js";

const digits = new Intl.NumberFormat("en-GB"); // as the server groups them

export const grouped = (number) => digits.format(number);

export function characters(count) {
  return `${grouped(count)} ${count === 1 ? "character" : "characters"}`;
}

export function waiting(place) {
  return place ? `Waiting for a worker (place ${grouped(place)})` : "Waiting for a worker";
}

export const RECONNECTING = "Reconnecting…";

export function crowded(seconds) {
  return `Too many texts are open at once, on your pages or in your network. This page tries again in ${seconds} seconds.`;
}

export function ended({ state, finish_reason: reason, length, error }) {
  if (state === "done") return `${reason === "stop" ? "Done at a stop string" : "Done"}, ${characters(length)}`;
  if (state === "cancelled") return `Stopped after ${characters(length)}`;
  return `Failed after ${characters(length)}${error ? `: ${isolated(error)}` : ""}`;
}

export function written(position, length) {
  return `${grouped(position)} of ${grouped(length)}`;
}

export function rate(number) {
  return number ? `${grouped(Math.round(number))} characters a second` : "";
}
