// The socket of one generation. Offsets count code points, as the server's do; every character is passed on exactly once.

const ANOTHER_SIGN_IN = 4401; // perhaps of another tab; then the cookies that come with the next try are the right ones
const SIGN_IN_PAUSE = 1000; // ms until they have come
const FINAL = new Map([
  [4400, "The server did not understand this page. Reload it."],
  [ANOTHER_SIGN_IN, "This text belongs to another sign-in. Sign in again, then reload the page."],
  [4404, "This text does not exist any more, or it is not yours."],
]);
const CROWDED = 4429; // this visitor or this network has as many sockets as it may
const CROWDED_PAUSE = 10000; // ms, and up to as much again, so that pages do not all come back at once
const BACKOFF_FIRST = 300; // ms
const BACKOFF_CAP = 2500; // a server that comes back has its pages back within three seconds
const SILENCE = 12000; // ms; the server says something at least every 5 s
const ACK_EVERY = 1000; // characters; a small part of what the server sends without hearing that it came
const ACK_PAUSE = 250; // ms between two, far below what the server takes for a flood

/**
 * Events: "socket" (detail: connecting | open | reconnecting | ended), "snapshot", "chars" ({text, ...}: only what is new),
 * "alive", "end" (the frame), "crowded" (detail: seconds until the next try), "refused" (detail: a sentence; nothing more comes).
 */
export class Stream extends EventTarget {
  #path;
  #socket = null;
  #failures = 0;
  #retryTimer = 0;
  #silenceTimer = 0;
  #ackTimer = 0;
  #acknowledged = 0;
  #crowded = false;
  #askedWhose = false;
  #cancelWanted = false;
  #over = false;

  constructor(path, position = 0) {
    super();
    this.#path = path;
    this.position = position;
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry); // timers of a hidden page are slow
  }

  open() {
    this.#say("socket", this.#failures ? "reconnecting" : "connecting");
    this.#connect();
  }

  /** Ask for a stop; asked again after a reconnect, for the first message may have been lost. */
  cancel() {
    this.#cancelWanted = true;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#sendCancel();
  }

  /** Stop listening; the generation goes on without this page. */
  close() {
    this.#over = true;
    clearTimeout(this.#retryTimer);
    this.#drop();
    removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
  }

  #connect() {
    const url = new URL(this.#path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("after", this.position);
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#crowded = false;
    this.#acknowledged = this.position;
    this.#listenForSilence();
    socket.addEventListener("message", (event) => socket === this.#socket && this.#receive(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#closed(event.code));
  }

  #receive(frame) {
    this.#listenForSilence();
    if (frame.type === "snapshot") {
      this.#failures = 0;
      this.#askedWhose = false;
      this.#say("socket", "open");
      if (this.#cancelWanted) this.#sendCancel();
      this.#take(frame);
    } else if (frame.type === "chars") this.#take(frame);
    else if (frame.type === "end") this.#end(frame);
    else if (frame.type === "alive") this.#say("alive", frame);
  }

  /** Pass on what continues the position, drop what is known, and fetch again what is missing. */
  #take(frame) {
    const known = this.position - frame.offset;
    if (known < 0) return this.#reconnect();
    const text = Array.from(frame.text).slice(known);
    if (!text.length && frame.type === "chars") return;
    const offset = this.position;
    this.position += text.length;
    this.#say(frame.type, { ...frame, offset, text: text.join(""), surprisal: frame.surprisal?.slice(known) });
    this.#acknowledge();
  }

  /** Tell the server how much has come; it sends only so much ahead of that. */
  #acknowledge() {
    if (this.#ackTimer || this.position - this.#acknowledged < ACK_EVERY || this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#acknowledged = this.position;
    this.#socket.send(JSON.stringify({ type: "ack", offset: this.position }));
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = 0;
      this.#acknowledge();
    }, ACK_PAUSE);
  }

  #end(frame) {
    if (frame.length > this.position) return this.#reconnect();
    this.close();
    this.#say("end", frame);
  }

  #closed(code) {
    if (code === ANOTHER_SIGN_IN && !this.#askedWhose) this.#askWhose();
    else if (FINAL.has(code)) {
      this.close();
      this.#say("refused", FINAL.get(this.#askedWhose ? ANOTHER_SIGN_IN : code));
    } else if (code === CROWDED) this.#comeBackLater();
    else this.#reconnect();
  }

  #reconnect() {
    this.#drop();
    const limit = Math.min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** this.#failures++);
    this.#say("socket", "reconnecting");
    this.#retryTimer = setTimeout(() => this.#connect(), Math.random() * limit);
  }

  /** Come back once: who signed in in another tab has taken the text along. */
  #askWhose() {
    this.#drop();
    this.#askedWhose = true;
    this.#say("socket", "reconnecting");
    this.#retryTimer = setTimeout(() => this.#connect(), SIGN_IN_PAUSE);
  }

  #comeBackLater() {
    this.#drop();
    this.#crowded = true;
    const wait = CROWDED_PAUSE * (1 + Math.random());
    this.#say("socket", "reconnecting");
    this.#say("crowded", Math.ceil(wait / 1000));
    this.#retryTimer = setTimeout(() => this.#connect(), wait);
  }

  #hurry = () => {
    if (this.#over || this.#socket || this.#crowded || document.hidden) return;
    clearTimeout(this.#retryTimer);
    this.#connect();
  };

  #drop() {
    clearTimeout(this.#silenceTimer);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #listenForSilence() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#reconnect(), SILENCE);
  }

  #sendCancel() {
    this.#socket.send(JSON.stringify({ type: "cancel" }));
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
