// The box that sends a message as the user.

import { newId } from "./api.js";
import { icon } from "./dom.js";

export class Composer {
  #form;
  #text;
  #button;
  #problem;
  #send;
  #unsent;
  #isSending = false;
  #sessionId;

  /** `send(messageId, text)` is a promise that is refused with why it failed. */
  constructor(form, send) {
    this.#form = form;
    this.#send = send;
    this.#text = form.querySelector("textarea");
    this.#button = form.querySelector("button");
    this.#problem = form.querySelector(".problem");
    this.#button.append(icon("send"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#update());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
  }

  show(conversation) {
    const isClosed = conversation?.session?.state === "SESSION_STATE_CLOSED";
    this.#form.hidden = !conversation || conversation.phase instanceof Error;
    this.#text.disabled = isClosed;
    this.#text.placeholder = isClosed ? "This session is closed" : "Send a message as the user";
    if (conversation?.id !== this.#sessionId) {
      this.#sessionId = conversation?.id;
      this.#unsent = undefined;
      this.#problem.hidden = true;
    }
    this.#update();
  }

  /** Whether there is a box that can be written into. */
  focus() {
    this.#text.focus();
    return document.activeElement === this.#text;
  }

  fail(error) {
    this.#problem.hidden = false;
    this.#problem.textContent = `Failed: ${error.message}.`;
  }

  #update() {
    this.#button.disabled = this.#isSending || this.#text.disabled || this.#text.value.trim() === "";
    this.#text.rows = Math.min(8, this.#text.value.split("\n").length);
  }

  async #submit() {
    const text = this.#text.value;
    if (this.#isSending || text.trim() === "") return;
    // The same text is sent under the same id again: it may have arrived.
    if (this.#unsent?.text !== text) this.#unsent = { text, messageId: newId() };
    this.#isSending = true;
    this.#update();
    try {
      await this.#send(this.#unsent.messageId, text);
      if (this.#text.value === text) this.#text.value = "";
      this.#unsent = undefined;
      this.#problem.hidden = true;
    } catch (error) {
      this.#problem.hidden = false;
      this.#problem.textContent = `Not sent: ${error.message}. Enter sends it again.`;
    }
    this.#isSending = false;
    this.#update();
    this.#text.focus();
  }
}
