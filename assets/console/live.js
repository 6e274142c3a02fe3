// Server-sent events that go on where they were cut. EventSource would do most of
// this, but it hides heartbeats, so that a connection that died in silence looks
// alive, and it doesn't say when it tries again.

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 10_000;
/** Three heartbeats: who is silent for longer is not there any more. */
const SILENCE_MAX_MS = 45_000;

/** Reads a byte stream as server-sent events; yields undefined for what is none. */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const records = (rest + piece.value).split(/\r?\n\r?\n/);
      rest = records.pop();
      for (const record of records) yield parse(record);
      if (records.length === 0) yield undefined;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(record) {
  const event = { id: undefined, name: "message", data: "" };
  const data = [];
  for (const line of record.split(/\r?\n/)) {
    const [, field, value] = line.match(/^([^:]*)(?:: ?(.*))?$/s);
    if (field === "id") event.id = value ?? "";
    if (field === "event") event.name = value ?? "";
    if (field === "data") data.push(value ?? "");
  }
  event.data = data.join("\n");
  return data.length > 0 ? event : undefined;
}

/**
 * Follows a stream until `stop`. `address(lastId)` says where it is; `onEvent` is
 * called with each event, `onState` with what became of the connection:
 *
 * - connecting: asked, no answer yet
 * - live: events come, or heartbeats
 * - waiting: cut; `retryAt` says when it tries again
 * - ended: the service says that nothing will follow
 * - refused: the service says no; `error` has why
 */
export class Live {
  #address;
  #onEvent;
  #onState;
  #refusalOf;
  #lastId = "";
  #failures = 0;
  #attempt = new AbortController();
  #wake = () => {};
  #stopped = false;

  constructor({ address, onEvent, onState, refusalOf }) {
    this.#address = address;
    this.#onEvent = onEvent;
    this.#onState = onState;
    this.#refusalOf = refusalOf;
  }

  async run() {
    while (!this.#stopped) {
      this.#tell({ state: "connecting" });
      const outcome = await this.#follow().catch(() => undefined);
      if (this.#stopped) return;
      if (outcome) return this.#tell(outcome);
      await this.#pause();
    }
  }

  /** Tries again at once. */
  retry() {
    this.#wake();
  }

  stop() {
    this.#stopped = true;
    this.#attempt.abort();
    this.#wake();
  }

  #tell(state) {
    if (!this.#stopped) this.#onState(state);
  }

  /** Follows one connection; what it gives is final. */
  async #follow() {
    this.#attempt = new AbortController();
    const silence = new Silence(() => this.#attempt.abort());
    try {
      const headers = this.#lastId ? { "last-event-id": this.#lastId } : {};
      const { signal } = this.#attempt;
      const response = await fetch(this.#address(this.#lastId), { headers, signal, cache: "no-store" });
      if (response.status === 204) return { state: "ended" };
      if (response.status >= 400 && response.status < 500 && response.status !== 429) {
        return { state: "refused", error: await this.#refusalOf(response) };
      }
      if (!response.ok) return;
      await this.#read(response.body, silence);
    } finally {
      silence.end();
    }
  }

  async #read(body, silence) {
    this.#tell({ state: "live" });
    for await (const event of eventsOf(body)) {
      if (this.#stopped) return;
      silence.begin();
      // The service could not go on: ask again, but not ever faster.
      if (event?.name === "problem") return;
      this.#failures = 0;
      if (!event) continue;
      this.#onEvent(event);
      if (event.id !== undefined) this.#lastId = event.id;
    }
  }

  async #pause() {
    const longest = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#failures++);
    // Half of it by chance, so that pages that were cut together come back apart.
    const delay = longest * (0.5 + Math.random() / 2);
    this.#tell({ state: "waiting", retryAt: Date.now() + delay });
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Calls back where nothing was heard for too long. */
class Silence {
  #timer;
  #callback;

  constructor(callback) {
    this.#callback = callback;
    this.begin();
  }

  begin() {
    this.end();
    this.#timer = setTimeout(this.#callback, SILENCE_MAX_MS);
  }

  end() {
    clearTimeout(this.#timer);
  }
}
