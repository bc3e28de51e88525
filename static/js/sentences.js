// What the page says by script: the status of a text, and why something failed.

import { isolated } from "./isolate.js";

const NOT_YOURS = "This text no longer exists, or it is not yours.";
const OVER = { done: "Written", cancelled: "Stopped", failed: "Failed" };
const digits = new Intl.NumberFormat("en-GB"); // as the server groups them

export const RECONNECTING = "Reconnecting…";
export const STOPPING = "Stopping…";
export const PAUSED = "Paused";
export const REFUSED = "The server refused this. Reload the page and try again.";
export const SENDABLE = "You can send it again now.";

/** @param {number} number */
export function grouped(number) {
  return digits.format(number);
}

/** @param {number} count */
export function characters(count) {
  return `${grouped(count)} ${count === 1 ? "character" : "characters"}`;
}

/**
 * Return the status of a text in the queue.
 * @param {number | null} place its place, where that is known
 */
export function waiting(place) {
  return place ? `Waiting for a worker (place ${grouped(place)})` : "Waiting for a worker";
}

/**
 * Return the status of a text in progress, or "" for one that only waits.
 * @param {object} now
 * @param {string} now.state
 * @param {string} now.note the server's own sentence
 * @param {boolean} now.stopping whether the reader has pressed Stop
 * @param {boolean} now.paused whether the reader has paused what is shown
 * @param {string} now.ended the last state of a text that is written and not all shown, else ""
 */
export function underWay({ state, note, stopping, paused = false, ended: last = "" }) {
  if (stopping && !last) return STOPPING;
  if (paused) return PAUSED;
  if (last) return OVER[last];
  return note || (state === "running" ? "Generating" : "");
}

/** @param {number} seconds until the next try */
export function crowded(seconds) {
  return `Too many texts are open at once in your browser or your network. \
This page tries again in ${seconds} seconds.`;
}

/**
 * Return the last status of a text.
 * @param {{state: string, finish_reason: string, length: number, error: string}} frame
 */
export function ended({ state, finish_reason: reason, length, error }) {
  if (state === "done") {
    return `${reason === "stop" ? "Done at a stop string" : "Done"}, ${characters(length)}`;
  }
  if (state === "cancelled") return `Stopped after ${characters(length)}`;
  return `Failed after ${characters(length)}${error ? `: ${isolated(error)}` : ""}`;
}

/**
 * Return why a text can be followed no longer.
 * @param {number} code with which the server closed the socket
 */
export function refused(code) {
  if (code === 4400) return "The server did not understand this page. Reload it.";
  if (code === 4404) return NOT_YOURS;
  return "This text belongs to another account or visitor. Sign in again, then reload this page.";
}

/**
 * Return why a form was not accepted, or "" where its fields say so.
 * @param {number} status of the answer, 0 if none came
 */
export function postFailed(status) {
  if (status === 400) return "";
  if (status === 403) return "This page is too old. Copy what you typed, then reload the page.";
  if (status === 404) return NOT_YOURS;
  const what = status ? `The server failed (error ${status}).` : "The server cannot be reached.";
  return `${what} What you typed is still here. Try again in a moment.`;
}

/**
 * @param {number} position
 * @param {number} length
 */
export function written(position, length) {
  return `${grouped(position)} of ${grouped(length)}`;
}

/**
 * @param {number} shown
 * @param {number} length
 */
export function showing(shown, length) {
  return `Showing ${written(shown, length)}`;
}

/**
 * Return the speed of a text in progress.
 * @param {number} number characters a second
 * @param {boolean} paced whether they are shown at another speed
 */
export function speed(number, paced) {
  return `, ${paced ? "written at " : ""}${grouped(Math.round(number))} a second`;
}

/** @param {number} number characters a second, 0 if unknown */
export function rate(number) {
  return number ? `${grouped(Math.round(number))} characters a second` : "";
}
