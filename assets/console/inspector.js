// The raw log of one message: what is retained, and what comes.

import { listEvents } from "./api.js";
import { copyButton, h, iconButton, setChildren, setText } from "./dom.js";
import { bytes, count, eventName, span, word } from "./format.js";

/** More rows than this make a page slow; the last ones are shown. */
const ROWS_MAX = 1000;

export class Inspector {
  #node;
  #onClose;
  #messageId;
  #events = new Map();
  #rows = new Map();
  #notes = [];
  #isCut = false;
  #problem;
  #loading = false;
  #list = h("ol", { class: "events" });
  #status = h("p", { class: "inspector-status", role: "status" });
  #tab = "log";
  #state;
  #json = h("pre", { class: "state-json", tabindex: 0 });
  #tabs;

  constructor(node, onClose) {
    this.#node = node;
    this.#onClose = onClose;
    const tab = (name, label) => h("button", { type: "button", "data-tab": name, onclick: () => this.#choose(name) }, label);
    this.#tabs = [tab("log", "Events"), tab("state", "Message")];
  }

  get messageId() {
    return this.#messageId;
  }

  async open(messageId) {
    this.#messageId = messageId;
    this.#events = new Map();
    this.#rows = new Map();
    this.#notes = [];
    this.#state = undefined;
    this.#node.hidden = false;
    const head = h("header", {}, h("div", { class: "tabs", role: "group", "aria-label": "View" }, this.#tabs),
      copyButton("Copy as JSON", () => this.#asText()),
      iconButton("close", "Close the log (Esc)", () => this.#onClose()));
    this.#node.replaceChildren(head, this.#status, this.#list, this.#json);
    this.#choose(this.#tab);
    await this.#load(messageId);
  }

  close() {
    this.#messageId = undefined;
    this.#node.hidden = true;
  }

  #choose(name) {
    this.#tab = name;
    for (const tab of this.#tabs) tab.setAttribute("aria-pressed", String(tab.dataset.tab === name));
    this.#list.hidden = name !== "log";
    this.#json.hidden = name !== "state";
    this.render();
  }

  #asText() {
    const value = this.#tab === "log" ? [...this.#events.values()] : this.#state?.message;
    return JSON.stringify(value, null, 2);
  }

  async #load(messageId) {
    this.#loading = true;
    this.#problem = undefined;
    this.render();
    try {
      let token = "";
      do {
        const page = await listEvents(messageId, token);
        if (this.#messageId !== messageId) return;
        (page.events ?? []).forEach((event) => this.#add(event));
        token = page.nextPageToken ?? "";
      } while (token);
    } catch (error) {
      this.#problem = error.message;
    }
    this.#loading = false;
    this.render();
  }

  #add(event) {
    this.#events.set(Number(event.sequence), event);
  }

  /** Takes in an item of the stream: an event, a gap, or what the connection does. */
  take({ name, data, connection }) {
    if (!this.#messageId) return;
    if (connection) return this.#noteConnection(connection.state);
    if (data.messageId !== this.#messageId) return;
    if (data.eventType) this.#add(data);
    else if (name === "gap") this.#note("gap", `gap: ${word(data.reason, "GAP_REASON_")}`);
    else if (name === "snapshot") this.#note("snapshot", `snapshot at ${data.cursor}`, Number(data.sequence));
  }

  #noteConnection(state) {
    if (state === "waiting" && !this.#isCut) this.#note("cut", "connection lost");
    if (state === "live" && this.#isCut) this.#note("resumed", `resumed after ${this.#lastCursor()}`);
    if (state === "waiting" || state === "live") this.#isCut = state === "waiting";
  }

  #lastSequence() {
    return [...this.#events.keys()].reduce((last, sequence) => Math.max(last, sequence), 0);
  }

  #lastCursor() {
    return this.#events.get(this.#lastSequence())?.cursor ?? "the start";
  }

  #note(kind, text, after = this.#lastSequence()) {
    this.#notes.push({ kind, after, node: h("li", { class: `note ${kind}` }, text) });
    this.#notes.sort((a, b) => a.after - b.after);
  }

  /** Shows what was taken in; `state` is the message as it is by now. */
  render(state = this.#state) {
    this.#state = state;
    if (!this.#messageId) return;
    if (this.#tab === "state") return setText(this.#json, state ? JSON.stringify(state.message, null, 2) : "");
    const sequences = [...this.#events.keys()].sort((a, b) => a - b);
    const shown = sequences.slice(-ROWS_MAX);
    const isAtEnd = this.#node.scrollTop + this.#node.clientHeight >= this.#node.scrollHeight - 40;
    setChildren(this.#list, this.#withNotes(shown));
    this.#showStatus(sequences, shown);
    if (isAtEnd && sequences.length > 0) this.#node.scrollTop = this.#node.scrollHeight;
  }

  #withNotes(sequences) {
    const rows = [];
    const notes = this.#notes.filter(({ after }) => after >= (sequences[0] ?? 1) - 1);
    for (const sequence of sequences) {
      while (notes[0]?.after < sequence) rows.push(notes.shift().node);
      rows.push(this.#rowOf(sequence));
    }
    return [...rows, ...notes.map(({ node }) => node)];
  }

  #rowOf(sequence) {
    if (!this.#rows.has(sequence)) this.#rows.set(sequence, row(this.#events.get(sequence), this.#startTime()));
    return this.#rows.get(sequence);
  }

  #startTime() {
    return Date.parse(this.#events.get(1)?.time ?? this.#state?.message.createTime ?? "");
  }

  #showStatus(sequences, shown) {
    const problem = this.#problem && `The log could not be loaded: ${this.#problem}.`;
    const loading = this.#loading && "Loading the log…";
    const less = shown.length < sequences.length ? `, the last ${shown.length.toLocaleString("en")} shown` : "";
    const first = sequences[0] > 1 ? `, from ${sequences[0]} on: earlier ones are no longer retained` : "";
    setText(this.#status, problem || loading || `${count(sequences.length, "event")}${less}${first}`);
    this.#status.classList.toggle("problem", Boolean(problem));
  }
}

/** One event. What is inside is made when it is opened. */
function row(event, start) {
  const first = Number(event.firstSequence ?? 0);
  const sequence = first ? `${first}–${event.sequence}` : event.sequence;
  const since = Date.parse(event.time) - start;
  const name = eventName(event.eventType);
  const summary = h("summary", {},
    h("span", { class: "event-sequence" }, sequence),
    h("span", { class: "event-type", "data-type": name }, name),
    h("span", { class: "event-about" }, about(event)),
    h("time", { class: "event-time", datetime: event.time, title: event.time }, Number.isNaN(since) ? "" : `+${span(since)}`));
  const details = h("details", {}, summary);
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(inside(event)));
  return h("li", { "data-sequence": event.sequence, "data-cursor": event.cursor }, details);
}

const inside = (event) =>
  h("div", { class: "event-inside" },
    h("p", { class: "event-cursor" }, h("span", {}, "cursor "), h("code", {}, event.cursor), copyButton("Copy the cursor", () => event.cursor)),
    h("pre", { tabindex: 0 }, JSON.stringify(event, null, 2)));

/** What an event says, in a few words. */
function about(event) {
  const task = (event.taskStarted ?? event.taskProgress ?? event.taskCompleted ?? event.taskFailed ?? event.taskCancelled)?.task;
  if (event.textDelta) return JSON.stringify(event.textDelta.delta.slice(0, 200));
  if (event.contentAdded) return blockAbout(event.contentAdded.block);
  if (event.contentUpdated) return blockAbout(event.contentUpdated.block);
  if (task) return `${task.taskType} ${word(task.status, "TASK_STATUS_")} ${Math.round((task.progress ?? 0) * 100)} %`;
  if (event.messageStart) return word(event.messageStart.role, "ROLE_");
  if (event.messageEnd) return [word(event.messageEnd.state, "MESSAGE_STATE_"), event.messageEnd.error].filter(Boolean).join(": ");
  if (event.custom) return event.custom.name;
  return event.error?.message ?? event.cancelRequested?.reason ?? "";
}

function blockAbout(block) {
  const kind = word(block.contentType, "CONTENT_TYPE_");
  const reference = Object.values(block).find((content) => content?.contentRef)?.contentRef;
  return [kind, word(block.state, "BLOCK_STATE_"), reference && bytes(reference.size), block.error].filter(Boolean).join(" · ");
}
