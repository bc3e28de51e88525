// The sheet with a text on it: shows what its stream brings and keeps state, progress and status up to date.

import { Follow } from "./follow.js";
import { Reveal } from "./reveal.js";
import * as sentences from "./sentences.js";
import { Stream } from "./stream.js";
import { showUnknown } from "./unknown.js";

const WAITING_IS_WORTH_SAYING = 1000; // ms
const RUNNING = ["queued", "running"];

export class Output extends EventTarget {
  #element;
  #part;
  #stream = null;
  #reveal;
  #stopping = false;
  #follow;
  #waitTimer = 0;
  #place = null;
  #note = "";
  #firstAt = 0;
  #firstPosition = 0;

  constructor(element) {
    super();
    this.#element = element;
    this.#part = (name) => element.querySelector(`[data-${name}]`);
    this.#follow = new Follow(this.#part("caret"), this.#part("bar"), this.#part("jump"));
    this.#reveal = new Reveal(this.#part("text"), () => this.#follow.grown());
    this.#part("stop").addEventListener("click", (event) => this.#stopClicked(event));
  }

  /** Listen from `position` on to a generation of `length` characters; `asked`: the reader has just asked for it. */
  listen(path, { position = 0, length, state = "queued", asked = false }) {
    this.close();
    Object.assign(this.#element.dataset, { frames: 0, length });
    if (!position) this.#reveal.clear();
    this.#firstAt = 0;
    this.#part("rate").textContent = "";
    this.#setStopping(false);
    this.#setState(state);
    this.#setPosition(position);
    this.#stream = this.#subscribe(new Stream(path, position));
    this.#stream.open();
    this.#follow.start(asked);
  }

  /** Leave the generation to itself. */
  close() {
    this.#stream?.close();
    this.#stream = null;
    this.#reveal.flush();
    clearTimeout(this.#waitTimer);
  }

  #subscribe(stream) {
    const on = (type, act) =>
      stream.addEventListener(type, (event) => stream === this.#stream && act.call(this, event.detail));
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
    this.#element.dataset.length = frame.length;
    this.#setState(frame.state, frame.queue_position, frame.note);
    this.#reveal.place(frame.text); // written before this page came: nothing to play
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
    await this.#reveal.shown();
    if (stream !== this.#stream) return;
    this.#part("rate").textContent = sentences.rate(frame.stats.characters_per_second);
    this.#setState(frame.state);
    this.#say(sentences.ended(frame));
    this.#element.dataset.socket = "ended";
    this.dispatchEvent(new CustomEvent("end", { detail: frame }));
  }

  #refused(sentence) {
    this.#reveal.flush();
    this.#setState("");
    this.#say(sentence);
    this.#element.dataset.socket = "ended";
    this.dispatchEvent(new CustomEvent("refused"));
  }

  #stopClicked(event) {
    if (!this.#stream || this.#element.dataset.socket === "ended") return; // the form does it
    event.preventDefault();
    this.#setStopping(true);
    this.#stream.cancel();
    this.#say("Stopping…");
  }

  #setStopping(stopping) {
    this.#stopping = stopping; // not `disabled`, which would take the focus away
    this.#part("stop").setAttribute("aria-disabled", stopping);
  }

  #setState(state, place = null, note = "") {
    const running = RUNNING.includes(state);
    const stop = this.#part("stop");
    const hadFocus = document.activeElement === stop;
    this.#element.dataset.state = state;
    this.#place = place;
    this.#note = note;
    stop.hidden = this.#part("progress").hidden = !running;
    this.#part("after").hidden = running;
    if (!running) {
      this.#follow.stop();
      if (hadFocus) this.#part("again").focus({ preventScroll: true });
    }
    this.#sayState(state);
  }

  #sayState(state) {
    clearTimeout(this.#waitTimer);
    if (!RUNNING.includes(state)) return;
    if (this.#stopping) this.#say("Stopping…");
    else if (this.#note) this.#say(this.#note);
    else if (state === "running") this.#say("Generating");
    else this.#waitTimer = setTimeout(() => this.#say(sentences.waiting(this.#place)), WAITING_IS_WORTH_SAYING);
  }

  #setPosition(position) {
    const progress = this.#part("progress");
    this.#element.dataset.offset = position;
    progress.max = this.#element.dataset.length;
    progress.value = position;
  }

  #measure() {
    const position = Number(this.#element.dataset.offset);
    const now = performance.now();
    if (!this.#firstAt) [this.#firstAt, this.#firstPosition] = [now, position];
    const seconds = (now - this.#firstAt) / 1000;
    const speed = seconds > 0.25 ? `, ${Math.round((position - this.#firstPosition) / seconds)} a second` : "";
    this.#part("rate").textContent = `${position} of ${this.#element.dataset.length}${speed}`;
  }

  #say(sentence) {
    const status = this.#part("status");
    if (status.textContent !== sentence) status.textContent = sentence;
  }
}
