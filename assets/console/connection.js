// What the stream's connection is doing, in one place that is always visible.

import { h, setText } from "./dom.js";

const WORDS = {
  connecting: "Connecting…",
  live: "Live",
  ended: "Ended",
  refused: "Refused",
};

export class ConnectionView {
  #label = h("span");
  #retry;
  #announcer;
  #announced = "";
  #countdown;
  node;

  constructor(retry, announcer) {
    this.#announcer = announcer;
    this.#retry = h("button", { type: "button", class: "quiet", hidden: true, onclick: retry }, "Retry now");
    this.node = h("div", { class: "connection" }, h("i", { class: "dot" }), this.#label, this.#retry);
  }

  show({ state, retryAt, error }) {
    clearInterval(this.#countdown);
    this.node.dataset.state = state;
    this.node.title = error?.message ?? "";
    this.#retry.hidden = state !== "waiting" && state !== "refused";
    if (state === "waiting") {
      this.#count(retryAt);
      this.#countdown = setInterval(() => this.#count(retryAt), 250);
    } else {
      setText(this.#label, WORDS[state]);
    }
    this.#announce(state);
  }

  #count(retryAt) {
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    setText(this.#label, `Cut off, again in ${seconds} s`);
  }

  /** Tells screen readers of what lasts: not of each new attempt. */
  #announce(state) {
    const text = { live: "Live", waiting: "Connection lost", refused: "Refused", ended: "Ended" }[state];
    if (!text || text === this.#announced) return;
    this.#announced = text;
    this.#announcer.textContent = text;
  }
}
