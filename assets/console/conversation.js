// One session as the page knows it: its messages, kept up to date by one stream
// for all of them. Browsers have six connections to a server over HTTP/1.1, so a
// stream for each message would soon use them up.

import * as api from "./api.js";
import { apply, fromSnapshot, placeOf, sequenceOf } from "./fold.js";
import { instant } from "./format.js";
import { Live } from "./live.js";

const PAGE = 50;
const SILENCE_MIN_MS = 45_000;
const GONE = new Set(["WATCH_END_REASON_DELETED", "WATCH_END_REASON_EXPIRED"]);

export class Conversation {
  /** What is known of the session itself. */
  session;
  /** State (see fold.js) of each message, by id. */
  messages = new Map();
  /** How many messages there are before the first that is shown. */
  earlier = 0;
  /** "loading", "ready" or a Refusal. */
  phase = "loading";
  /** What the stream's connection is doing: see live.js. */
  connection = { state: "connecting" };

  #id;
  #live;
  #listeners;
  #heartbeatMs = 0;
  /** Of messages that are loaded anew: the last event that was not taken in. */
  #missed = new Map();

  /**
   * `onChange` is told the id of a message that changed, or nothing where more
   * did; `onFrame` is given every item of the stream, for the log.
   */
  constructor(sessionId, listeners) {
    this.#id = sessionId;
    this.#listeners = listeners;
  }

  get id() {
    return this.#id;
  }

  /** Begins to follow, then loads: what happens in between comes by the stream. */
  open() {
    this.#follow();
    return this.load();
  }

  #follow() {
    this.#live = new Live({
      address: api.address(["sessions", this.#id, "stream"]),
      onEvent: (event) => this.#take(event),
      onState: (connection) => {
        this.connection = connection;
        if (connection.state === "live" && this.phase instanceof Error) this.load();
        this.#listeners.onFrame({ connection });
        this.#listeners.onChange();
      },
      refusalOf: api.refusalOf,
      silenceMax: () => Math.max(SILENCE_MIN_MS, 3 * this.#heartbeatMs),
    });
    this.#live.run();
  }

  async load() {
    this.phase = "loading";
    try {
      this.#heartbeatMs = await api.heartbeatMs();
      this.session = await api.getSession(this.#id);
      const count = Number(this.session.messageCount ?? 0);
      this.earlier = Math.max(0, count - PAGE);
      await this.#list(this.earlier, count - this.earlier);
      this.phase = "ready";
    } catch (error) {
      this.phase = error;
    }
    this.#listeners.onChange();
  }

  async loadEarlier() {
    const from = Math.max(0, this.earlier - PAGE);
    await this.#list(from, this.earlier - from);
    this.earlier = from;
    this.#listeners.onChange();
  }

  async #list(offset, limit) {
    // A page may end early, where its messages are large.
    for (let at = offset; at < offset + limit; ) {
      const page = await api.listMessages(this.#id, at, offset + limit - at);
      page.forEach((message) => this.#replace(message));
      if (page.length === 0) return;
      at += page.length;
    }
  }

  /** Messages, oldest first. */
  inOrder() {
    const time = ({ message }) => instant(message.createTime);
    return [...this.messages.values()].sort((a, b) => (time(a) < time(b) ? -1 : time(a) > time(b) ? 1 : 0));
  }

  /** Tries again what failed, at once. */
  retry() {
    const isRefused = this.connection.state === "refused";
    if (isRefused) this.#follow();
    else this.#live.retry();
    // A stream that begins anew doesn't tell what has ended since the last.
    if (isRefused || this.phase instanceof Error) this.load();
  }

  close() {
    this.#live.stop();
  }

  #take({ id, name, data }) {
    const frame = { name, cursor: id, data: JSON.parse(data || "{}") };
    this.#listeners.onFrame(frame);
    const messageId = frame.data.messageId;
    if (frame.data.eventType) this.#takeEvent(frame.data);
    else if (name === "snapshot") this.#replace(frame.data, true);
    else if (name === "end" && messageId) this.#takeEnd(messageId, frame.data);
    // Some of the session's new messages were not told of.
    else if (name === "gap" && !messageId) this.load();
    if (messageId) this.#listeners.onChange(messageId);
  }

  #takeEvent(event) {
    const state = this.messages.get(event.messageId);
    if (placeOf(state, event) === "ahead") this.#reload(event);
    else this.messages.set(event.messageId, apply(state, event));
  }

  #takeEnd(messageId, { reason }) {
    if (GONE.has(reason) && this.messages.delete(messageId)) this.#listeners.onChange();
  }

  /** Takes in a snapshot; an older one only where the stream itself says so. */
  #replace(message, isStream = false) {
    const before = this.messages.get(message.messageId);
    const isOlder = before && Number(message.sequence) < sequenceOf(before);
    if (!isOlder || isStream) this.messages.set(message.messageId, fromSnapshot(message, before));
  }

  // What the stream tells of a message that is not known yet, or of which events
  // are missing: the message as a whole is asked for.
  async #reload({ messageId, sequence }) {
    const isReloading = this.#missed.has(messageId);
    this.#missed.set(messageId, Number(sequence));
    if (isReloading) return;
    const head = () => sequenceOf(this.messages.get(messageId));
    try {
      // Again where more came than the answer has, unless that brings nothing.
      for (let before = -1; before < head() && head() < this.#missed.get(messageId); ) {
        before = head();
        this.#replace(await api.getMessage(messageId));
        this.#listeners.onChange(messageId);
      }
    } catch (error) {
      console.warn(`message ${messageId} could not be loaded`, error);
    } finally {
      this.#missed.delete(messageId);
    }
  }
}
