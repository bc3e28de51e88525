// The socket of one text. Every character is passed on exactly once; offsets count code points, as
// on the server.

// Close codes of the server. See generator/sockets/consumer.py.
const NOT_UNDERSTOOD = 4400;
const ANOTHER_SIGN_IN = 4401; // perhaps in another tab: the next try sends the new cookies
const NOT_YOURS = 4404;
const CROWDED = 4429; // this visitor or this network has as many sockets as it may
const FINAL = [NOT_UNDERSTOOD, ANOTHER_SIGN_IN, NOT_YOURS];

const SIGN_IN_PAUSE = 1000; // ms; the new cookies have come by then
const CROWDED_PAUSE = 10000; // ms, and up to as much again, so that pages come back one by one
const BACKOFF_FIRST = 300; // ms
const BACKOFF_CAP = 2500; // ms; after a restart of the server its pages are back within 3 s
const SILENCE = 12000; // ms; the server says something at least every 5 s
const ACK_EVERY = 1000; // characters; a small part of what the server sends unconfirmed
const ACK_PAUSE = 250; // ms between two; the server takes many more for a flood

/**
 * Events, with their `detail`:
 * - "socket": connecting | open | reconnecting
 * - "snapshot" and "chars": the frame, with only the characters that are new
 * - "alive" and "end": the frame; nothing comes after "end"
 * - "crowded": seconds until the next try
 * - "refused": the code with which the server closed the socket; nothing comes after it
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

  /**
   * @param {string} path of the socket
   * @param {number} position how many characters the page already has
   */
  constructor(path, position = 0) {
    super();
    this.#path = path;
    this.position = position;
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry); // hidden pages have slow timers
  }

  /** Connect. */
  open() {
    this.#say("socket", this.#failures ? "reconnecting" : "connecting");
    this.#connect();
  }

  /** Ask for a stop, and again after a reconnect: the first message may have been lost. */
  cancel() {
    this.#cancelWanted = true;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#sendCancel();
  }

  /** Stop listening. The text goes on without this page. */
  close() {
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
    socket.addEventListener("message", ({ data }) => {
      if (socket === this.#socket) this.#receive(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code }) => {
      if (socket === this.#socket) this.#closed(code);
    });
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

  /** Pass on what continues the position, drop what is known, reconnect if something is missing. */
  #take(frame) {
    const known = this.position - frame.offset;
    if (known < 0) return this.#reconnect();
    const text = Array.from(frame.text).slice(known);
    if (!text.length && frame.type === "chars") return;
    const offset = this.position;
    this.position += text.length;
    const surprisal = frame.surprisal?.slice(known);
    this.#say(frame.type, { ...frame, offset, text: text.join(""), surprisal });
    this.#acknowledge();
  }

  /** Tell the server how much has come. It sends only a window of characters ahead of that. */
  #acknowledge() {
    if (this.#ackTimer || this.position - this.#acknowledged < ACK_EVERY) return;
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
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
    else if (FINAL.includes(code)) {
      this.close();
      this.#say("refused", this.#askedWhose ? ANOTHER_SIGN_IN : code);
    } else if (code === CROWDED) this.#comeBackLater();
    else this.#reconnect();
  }

  #reconnect() {
    this.#drop();
    const limit = Math.min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** this.#failures++);
    this.#say("socket", "reconnecting");
    this.#retryTimer = setTimeout(() => this.#connect(), Math.random() * limit);
  }

  /** Come back once: a sign-in in another tab has taken the text along. */
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

  /** Reconnect now: the network is back, or the reader. */
  #hurry = () => {
    if (this.#socket || this.#crowded || document.hidden) return;
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
