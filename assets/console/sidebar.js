// The user and their sessions.

import { createSession, listSessions } from "./api.js";
import { h, iconButton, setChildren } from "./dom.js";
import { ago, count, shortId } from "./format.js";

const REFRESH_MS = 10_000;

export class Sidebar {
  #user = "";
  #session = "";
  #sessions;
  #problem;
  #rows = new Map();
  #actions;
  #list = document.getElementById("sessions");
  #input = document.getElementById("user");
  #tools;

  /** `actions`: `onUser(userId)` and `onSession(sessionId)`. */
  constructor(actions) {
    this.#actions = actions;
    document.getElementById("user-form").addEventListener("submit", (event) => {
      event.preventDefault();
      actions.onUser(this.#input.value.trim());
    });
    this.#tools = document.getElementById("session-tools");
    this.#tools.append(iconButton("refresh", "Look again", () => this.refresh()), iconButton("plus", "New session", () => this.#create()));
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
    setInterval(() => document.hidden || this.refresh(), REFRESH_MS);
  }

  show(user, session) {
    const isNew = user !== this.#user;
    this.#session = session;
    if (isNew) {
      this.#user = user;
      this.#input.value = user;
      this.#sessions = undefined;
      this.#rows = new Map();
      this.refresh();
    }
    if (!user && !session) this.#input.focus();
    this.#render();
  }

  async refresh() {
    const user = this.#user;
    if (!user) return;
    try {
      const { sessions = [], nextPageToken } = await listSessions(user);
      if (user !== this.#user) return;
      this.#sessions = { list: sessions, hasMore: Boolean(nextPageToken) };
      this.#problem = undefined;
    } catch (error) {
      this.#problem = error;
    }
    this.#render();
  }

  async #create() {
    try {
      const session = await createSession(this.#user);
      this.#actions.onSession(session.sessionId);
      await this.refresh();
    } catch (error) {
      this.#problem = error;
      this.#render();
    }
  }

  #render() {
    this.#tools.hidden = !this.#user;
    setChildren(this.#list, this.#items());
  }

  #items() {
    const line = (text, className) => h("li", { class: className }, text);
    if (!this.#user) return [line("Enter a user id to see the sessions.", "hint")];
    const problem = this.#problem ? [line(`Could not be listed: ${this.#problem.message}.`, "hint problem")] : [];
    if (!this.#sessions) return problem.length ? problem : [h("li", { class: "skeleton", "aria-busy": "true", "aria-label": "Loading sessions" }, ["a", "b", "c"].map((width) => h("i", { class: `line-${width}` })))];
    const { list, hasMore } = this.#sessions;
    if (list.length === 0 && problem.length === 0) return [line("This user has no sessions.", "hint")];
    const more = hasMore ? [line(`The ${list.length} with the newest activity.`, "hint")] : [];
    return [...problem, ...list.map((session) => this.#row(session)), ...more];
  }

  #row(session) {
    const id = session.sessionId;
    if (!this.#rows.has(id)) this.#rows.set(id, new Row(id, () => this.#actions.onSession(id)));
    const row = this.#rows.get(id);
    row.show(session, this.#session === id);
    return row.node;
  }

  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...this.#list.querySelectorAll("button")];
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
    event.preventDefault();
  }
}

class Row {
  #title = h("span", { class: "session-name" });
  #facts = h("span", { class: "session-facts" });
  #button;
  node;

  constructor(id, onclick) {
    this.#button = h("button", { type: "button", title: id, onclick }, this.#title, this.#facts);
    this.node = h("li", {}, this.#button);
  }

  show(session, isShown) {
    const title = session.metadata?.title;
    const facts = [count(session.messageCount ?? 0, "message"), ago(session.updateTime)];
    if (session.state === "SESSION_STATE_CLOSED") facts.push("closed");
    this.#title.textContent = typeof title === "string" && title ? title : shortId(session.sessionId);
    this.#title.classList.toggle("is-id", !title);
    this.#facts.textContent = facts.join(" · ");
    if (isShown) this.#button.setAttribute("aria-current", "page");
    else this.#button.removeAttribute("aria-current");
  }
}
