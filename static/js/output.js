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
  #stopHadFocus = false;
  #next;
  #follow;
  #waitTimer = 0;
  #place = null;
  #note = "";
  #firstAt = 0;
  #firstPosition = 0;

  /** `next`: what gets the focus when Stop goes away with it. */
  constructor(element, next) {
    super();
    this.#element = element;
    this.#next = next;
    this.#part = (name) => element.querySelector(`[data-${name}]`);
    this.#follow = new Follow(this.#part("caret"), [this.#part("bar"), this.#part("unknown")], this.#part("jump"));
    this.#reveal = new Reveal(this.#part("text"), () => this.#follow.grown());
    this.#part("stop").addEventListener("click", (event) => this.#stopClicked(event));
    document.addEventListener("keydown", (event) => this.#stopPressed(event));
  }

  /** Listen from `position` on to a generation of `length` characters; `asked`: the reader has just asked for it. */
  listen(path, { position = 0, length, state = "queued", asked = false }) {
    this.close();
    Object.assign(this.#element.dataset, { frames: 0, length });
    if (!position) this.#reveal.clear();
    this.#firstAt = 0;
    this.#part("count").textContent = this.#part("speed").textContent = "";
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
    this.#part("count").textContent = "";
    this.#part("speed").textContent = sentences.rate(frame.stats.characters_per_second);
    this.#setState(frame.state);
    this.#say(sentences.ended(frame));
    this.#over("end");
  }

  #refused(sentence) {
    this.#reveal.flush();
    this.#setState("");
    this.#say(sentence);
    this.#over("refused");
  }

  /** Nothing more comes: say so to the page, and leave the focus where it is of use. */
  #over(how) {
    this.#element.dataset.socket = "ended";
    this.dispatchEvent(new CustomEvent(how));
    if (this.#stopHadFocus) this.#next.focus({ preventScroll: true });
    this.#follow.finish(this.#element);
  }

  #stopClicked(event) {
    if (!this.#stream || this.#element.dataset.socket === "ended") return; // the form does it
    event.preventDefault();
    this.#stop();
  }

  /** Escape stops, unless it means something else: it ends a composition, or closes an open question. */
  #stopPressed(event) {
    if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || event.repeat) return;
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (!this.#stream || !RUNNING.includes(this.#element.dataset.state)) return;
    this.#stop();
  }

  #stop() {
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
    const changed = this.#element.dataset.state !== state;
    if (running) this.#stopHadFocus = false;
    else this.#stopHadFocus ||= document.activeElement === stop;
    this.#element.dataset.state = state;
    this.#place = place;
    this.#note = note;
    stop.hidden = this.#part("progress").hidden = !running;
    this.#part("after").hidden = running;
    this.#sayState(state);
    if (changed) this.dispatchEvent(new CustomEvent("state", { detail: state }));
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
    this.#part("count").textContent = position ? sentences.written(position, this.#element.dataset.length) : "";
    this.dispatchEvent(new CustomEvent("position", { detail: position }));
  }

  #measure() {
    const position = Number(this.#element.dataset.offset);
    const now = performance.now();
    if (!this.#firstAt) [this.#firstAt, this.#firstPosition] = [now, position];
    const seconds = (now - this.#firstAt) / 1000;
    const speed = seconds > 0.25 ? `, ${sentences.grouped(Math.round((position - this.#firstPosition) / seconds))} a second` : "";
    this.#part("speed").textContent = speed;
  }

  #say(sentence) {
    const status = this.#part("status");
    if (status.textContent !== sentence) status.textContent = sentence;
  }
}
