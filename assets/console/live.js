// Server-sent events that go on where they were cut. EventSource would do most of
// this, but it hides heartbeats, so that a connection that died in silence looks
// alive, and it doesn't say when it tries again.

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 10_000;

/**
 * Reads a byte stream as server-sent events. One without data is no event, but may
 * have an `id`; undefined says that there was a sign of life.
 */
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
  const event = { id: undefined, name: "message", data: undefined };
  const data = [];
  for (const line of record.split(/\r?\n/)) {
    const [, field, value] = line.match(/^([^:]*)(?:: ?(.*))?$/s);
    if (field === "id") event.id = value ?? "";
    if (field === "event") event.name = value ?? "";
    if (field === "data") data.push(value ?? "");
  }
  if (data.length > 0) event.data = data.join("\n");
  return event;
}

/**
 * Follows the stream at `address` until `stop`, and takes one for dead that is silent
 * for `silenceMax()` milliseconds. `onEvent` is called with each event, `onState` with
 * what became of the connection:
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
  #silenceMax;
  #lastId = "";
  #failures = 0;
  #attempt = new AbortController();
  #wake = () => {};
  #stopped = false;

  constructor({ address, onEvent, onState, refusalOf, silenceMax }) {
    this.#address = address;
    this.#onEvent = onEvent;
    this.#onState = onState;
    this.#refusalOf = refusalOf;
    this.#silenceMax = silenceMax;
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
    const silence = new Silence(this.#silenceMax, () => this.#attempt.abort());
    try {
      // Not in the address: a session's place can be longer than those may be.
      const headers = this.#lastId ? { "last-event-id": this.#lastId } : {};
      const { signal } = this.#attempt;
      const response = await fetch(this.#address, { headers, signal, cache: "no-store" });
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
      if (event.data !== undefined) this.#onEvent(event);
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

/** Calls back where nothing was heard for too long, which may get longer meanwhile. */
class Silence {
  #timer;
  #since;
  #max;
  #callback;

  constructor(max, callback) {
    this.#max = max;
    this.#callback = callback;
    this.begin();
  }

  begin() {
    this.end();
    this.#since = performance.now();
    this.#wait();
  }

  #wait() {
    const left = this.#since + this.#max() - performance.now();
    if (left <= 0) this.#callback();
    // A longer time would count as none.
    else this.#timer = setTimeout(() => this.#wait(), Math.min(left, 2 ** 31 - 1));
  }

  end() {
    clearTimeout(this.#timer);
  }
}
