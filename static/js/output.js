// The sheet with a text on it. Shows what its stream brings, and its state, progress and status.

import { Follow } from "./follow.js";
import { PaceBar } from "./pace-bar.js";
import { Reveal } from "./reveal.js";
import * as sentences from "./sentences.js";
import { meansStop } from "./shortcut.js";
import { Speed } from "./speed.js";
import { Stream } from "./stream.js";
import { showUnknown } from "./unknown.js";

const WAITING_IS_WORTH_SAYING = 1000; // ms
const RUNNING = ["queued", "running"];

export class Output extends EventTarget {
  #element;
  #part;
  #stream = null;
  #reveal;
  #pace;
  #atOnce = false; // whether what the next snapshot has is shown at once
  #last = ""; // the last state of a text that is written, though perhaps not all shown
  #total = 0; // characters of the whole text, as far as that is known
  #stopping = false;
  #hadFocus = false;
  #next;
  #follow;
  #waitTimer = 0;
  #place = null;
  #note = "";
  #speed = new Speed();

  /**
   * Events: "state" (detail: the new state), "position" (detail: characters written),
   * "written" (the server has ended it), "end" (and all of it is shown), "refused".
   * @param {HTMLElement} element the sheet
   * @param {HTMLElement} next gets the focus if Stop has it when the text ends
   */
  constructor(element, next) {
    super();
    this.#element = element;
    this.#next = next;
    this.#part = (name) => element.querySelector(`[data-${name}]`);
    const bars = [this.#part("bar"), this.#part("unknown")];
    this.#follow = new Follow(this.#part("caret"), bars, this.#part("jump"));
    this.#reveal = new Reveal(this.#part("text"), () => this.#grown());
    this.#pace = new PaceBar(this.#part, this.#reveal, () => this.#paceChanged());
    this.#part("stop").addEventListener("click", (event) => this.#stopClicked(event));
    document.addEventListener("keydown", (event) => this.#stopPressed(event));
  }

  /**
   * Show a text from `position` on as it grows to `length` characters.
   * @param {string} path of its socket
   * @param {{position?: number, length: number, state?: string, asked?: boolean}} text
   *   `asked` says that the reader has just asked for it
   */
  listen(path, { position = 0, length, state = "queued", asked = false }) {
    this.close();
    Object.assign(this.#element.dataset, { frames: 0, length });
    [this.#atOnce, this.#last, this.#total] = [!asked, "", length];
    this.#pace.pause(false);
    if (!position) this.#reveal.clear();
    this.#speed.clear();
    this.#part("count").textContent = this.#part("speed").textContent = "";
    this.#setStopping(false);
    this.#setState(state);
    this.#setPosition(position);
    this.#stream = this.#subscribe(new Stream(path, position));
    this.#stream.open();
    this.#follow.start(asked);
  }

  /** Show all that has arrived, and return the text without its prompt. */
  whole() {
    this.#reveal.flush();
    return this.#part("text").textContent;
  }

  /** Leave the text to itself. */
  close() {
    this.#stream?.close();
    this.#stream = null;
    this.#reveal.flush();
    this.#pace.offer(false);
    clearTimeout(this.#waitTimer);
  }

  #subscribe(stream) {
    const on = (type, act) =>
      stream.addEventListener(type, ({ detail }) => act.call(this, detail));
    on("socket", this.#socketIs);
    on("snapshot", this.#snapshot);
    on("chars", this.#characters);
    on("alive", (frame) => this.#setState(frame.state, frame.queue_position, frame.note));
    on("crowded", (seconds) => this.#say(sentences.crowded(seconds)));
    on("end", this.#ended);
    on("refused", this.#refused);
    return stream;
  }

  #socketIs(state) {
    this.#element.dataset.socket = state;
    if (state !== "reconnecting") return;
    clearTimeout(this.#waitTimer);
    this.#say(sentences.RECONNECTING);
  }

  #snapshot(frame) {
    this.#element.dataset.length = this.#total = frame.length;
    if (this.#atOnce || !this.#reveal.paced) this.#reveal.place(frame.text);
    else this.#reveal.add(frame.text); // the reader has asked for it, and has not seen it yet
    this.#atOnce = false;
    const endsLater = this.#reveal.waiting && !RUNNING.includes(frame.state); // on this sheet
    this.#setState(endsLater ? "running" : frame.state, frame.queue_position, frame.note);
    this.#setPosition(frame.offset + Array.from(frame.text).length);
    showUnknown(this.#part("unknown"), frame.unknown_characters);
  }

  #characters(frame) {
    this.#element.dataset.frames = Number(this.#element.dataset.frames) + 1;
    this.#setState("running");
    if (frame.unknown_characters) showUnknown(this.#part("unknown"), frame.unknown_characters);
    this.#reveal.add(frame.text);
    this.#setPosition(frame.offset + Array.from(frame.text).length);
    this.#measure();
  }

  async #ended(frame) {
    const stream = this.#stream;
    this.#last = frame.state;
    this.#total = frame.length;
    this.#reveal.end();
    this.#part("stop").setAttribute("aria-disabled", true); // nothing is left to stop
    this.dispatchEvent(new CustomEvent("written"));
    if (this.#reveal.paced && this.#reveal.waiting) this.#paceChanged();
    await this.#reveal.shown();
    if (stream !== this.#stream) return;
    this.#part("count").textContent = "";
    this.#part("speed").textContent = sentences.rate(frame.stats.characters_per_second);
    this.#setState(frame.state);
    this.#say(sentences.ended(frame));
    this.#over("end");
  }

  #refused(code) {
    this.#reveal.flush();
    this.#setState("");
    this.#say(sentences.refused(code));
    this.#over("refused");
  }

  /** Nothing more comes: tell the page, and keep the focus where the reader can use it. */
  #over(how) {
    this.#element.dataset.socket = "ended";
    this.dispatchEvent(new CustomEvent(how));
    if (this.#hadFocus) this.#next.focus({ preventScroll: true });
    this.#follow.finish(this.#element);
  }

  #stopClicked(event) {
    if (!this.#stream || this.#element.dataset.socket === "ended") return; // the form sends it
    event.preventDefault();
    this.#stop();
  }

  #stopPressed(event) {
    if (!meansStop(event)) return;
    if (this.#stream && RUNNING.includes(this.#element.dataset.state)) this.#stop();
  }

  #stop() {
    if (this.#last) return;
    this.#setStopping(true);
    this.#pace.pause(false);
    this.#stream.cancel();
    this.#say(sentences.STOPPING);
  }

  #setStopping(stopping) {
    this.#stopping = stopping; // not `disabled`, which would take the focus away
    this.#part("stop").setAttribute("aria-disabled", stopping);
  }

  #setState(state, place = null, note = "") {
    const running = RUNNING.includes(state);
    const stop = this.#part("stop");
    const changed = this.#element.dataset.state !== state;
    if (running) this.#hadFocus = false;
    else this.#hadFocus ||= [stop, ...this.#pace.buttons].includes(document.activeElement);
    this.#element.dataset.state = state;
    this.#place = place;
    this.#note = note;
    stop.hidden = this.#part("progress").hidden = !running;
    this.#part("after").hidden = running;
    this.#pace.offer(state === "running");
    this.#sayState(state);
    if (changed) this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #sayState(state) {
    clearTimeout(this.#waitTimer);
    if (!RUNNING.includes(state)) return;
    const [note, stopping, ended] = [this.#note, this.#stopping, this.#last];
    const { paused } = this.#reveal;
    const sentence = sentences.underWay({ state, note, stopping, paused, ended });
    if (sentence) return this.#say(sentence);
    const sayWaiting = () => this.#say(sentences.waiting(this.#place));
    this.#waitTimer = setTimeout(sayWaiting, WAITING_IS_WORTH_SAYING);
  }

  #setPosition(position) {
    this.#element.dataset.offset = position;
    this.#showProgress();
    this.dispatchEvent(new CustomEvent("position", { detail: position }));
  }

  #grown() {
    this.#follow.grown();
    if (this.#reveal.paced) this.#showProgress();
  }

  /** The reader has changed how the text is shown, or it is written and not all shown. */
  #paceChanged() {
    this.#sayState(this.#element.dataset.state);
    this.#showProgress();
  }

  /** Say how much is shown. Without a pace that is soon all there is. */
  #showProgress() {
    const progress = this.#part("progress");
    const position = Number(this.#element.dataset.offset);
    const { paced, waiting } = this.#reveal;
    const shown = paced ? position - waiting : position;
    const count = paced ? sentences.showing : sentences.written;
    [progress.max, progress.value] = [this.#total, shown];
    this.#part("count").textContent = position ? count(shown, this.#total) : "";
  }

  #measure() {
    const speed = this.#speed.at(Number(this.#element.dataset.offset), performance.now());
    const { paced } = this.#reveal;
    this.#part("speed").textContent = speed === null ? "" : sentences.speed(speed, paced);
  }

  #say(sentence) {
    const status = this.#part("status");
    if (status.textContent !== sentence) status.textContent = sentence;
  }
}
