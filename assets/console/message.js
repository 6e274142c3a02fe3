// One message on the page.

import { viewKey, viewOf } from "./blocks.js";
import { copyButton, h, icon, iconButton, setChildren, setText } from "./dom.js";
import { clock, shortId, word } from "./format.js";

export class MessageView {
  #blocks = new Map();
  #role = h("h3", { class: "role" });
  #time = h("time");
  #state = h("span", { class: "chip" });
  #cancel;
  #problem = h("p", { class: "problem", hidden: true });
  #body = h("div", { class: "blocks" });
  #empty = h("p", { class: "faint", hidden: true }, "No content");
  node;

  /** `actions` are what its buttons do: `inspect(id)` and `cancel(id)`, a promise. */
  constructor(messageId, actions) {
    this.#cancel = h("button", { type: "button", class: "cancel", onclick: () => this.#askCancel(messageId, actions) }, icon("stop"), h("span", {}, "Cancel"));
    const id = h("code", { class: "id", title: messageId }, shortId(messageId));
    const tools = h("span", { class: "tools" }, id,
      copyButton("Copy the message's id", () => messageId),
      iconButton("log", "Show the log of this message", () => actions.inspect(messageId), { "data-log": messageId }));
    const head = h("header", {}, this.#role, this.#state, this.#cancel, this.#time, tools);
    this.node = h("article", { class: "message", "data-id": messageId, tabindex: -1 }, head, this.#body, this.#empty, this.#problem);
  }

  async #askCancel(messageId, actions) {
    this.#cancel.disabled = true;
    const problem = await actions.cancel(messageId);
    this.#cancel.disabled = false;
    this.#problem.hidden = !problem;
    setText(this.#problem, problem ?? "");
  }

  show(state) {
    const { message } = state;
    const role = word(message.role, "ROLE_");
    const isStreaming = message.state === "MESSAGE_STATE_STREAMING";
    this.node.dataset.role = role;
    this.node.dataset.sequence = message.sequence;
    this.node.setAttribute("aria-busy", String(isStreaming));
    setText(this.#role, role);
    setText(this.#time, clock(message.createTime));
    this.#time.dateTime = message.createTime;
    this.#time.title = message.createTime;
    this.#showState(message, isStreaming);
    this.#showBlocks(state, isStreaming);
  }

  #showState(message, isStreaming) {
    const isAsked = isStreaming && message.cancelRequested;
    const name = isAsked ? "cancel requested" : word(message.state, "MESSAGE_STATE_");
    this.#state.dataset.state = isAsked ? "cancelling" : name;
    setText(this.#state, name);
    this.#state.hidden = name === "completed";
    this.#state.title = word(message.endReason, "END_REASON_");
    this.#cancel.hidden = !isStreaming || isAsked;
    const error = message.error ?? "";
    if (!isStreaming) {
      this.#problem.hidden = error === "";
      setText(this.#problem, error);
    }
  }

  #showBlocks(state, isStreaming) {
    const blocks = state.message.blocks ?? [];
    const views = new Map();
    for (const block of blocks) {
      const key = viewKey(block);
      const view = this.#blocks.get(key) ?? viewOf(block);
      view.show(state, block);
      views.set(key, view);
    }
    this.#blocks = views;
    setChildren(this.#body, [...views.values()].map(({ node }) => node));
    this.#empty.hidden = blocks.length > 0 || isStreaming;
    this.node.classList.toggle("is-waiting", isStreaming && blocks.length === 0);
  }
}
