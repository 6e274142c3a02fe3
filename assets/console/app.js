// The page: which session is shown, and what is shown of it. Everything that is
// shown follows from a Conversation, once per frame of the screen.

import * as api from "./api.js";
import { Conversation } from "./conversation.js";
import { h, icon, setChildren, setText } from "./dom.js";
import { Inspector } from "./inspector.js";
import { MessageView } from "./message.js";
import { Sidebar } from "./sidebar.js";
import { Composer } from "./composer.js";
import { ConnectionView } from "./connection.js";
import { themeButton } from "./theme.js";

const find = (id) => document.getElementById(id);

let conversation;
let views = new Map();
let changed = new Set();
let isScheduled = false;
/** Whether the page stays at the end of the conversation: until somebody scrolls up. */
let isFollowing = true;
let lastTop = 0;

const list = find("messages");
const scroll = find("scroll");
const jump = find("jump");
const connection = new ConnectionView(() => conversation.retry(), find("announcer"));
const inspector = new Inspector(find("inspector"), () => inspect());
const composer = new Composer(find("composer"), (messageId, text) => api.sendText(conversation.id, messageId, text));
const sidebar = new Sidebar({ onUser: (user) => go({ user }), onSession: (session) => go({ user: place().user, session }) });

const actions = {
  inspect: (messageId) => inspect(inspector.messageId === messageId ? undefined : messageId),
  cancel: (messageId) => api.cancelMessage(messageId).then(() => undefined, (error) => error.message),
};

/** What the address says is shown. */
function place() {
  const query = new URLSearchParams(location.search);
  return { user: query.get("user") ?? "", session: query.get("session") ?? "", log: query.get("log") ?? "" };
}

function go(next, isReplacing = false) {
  const query = new URLSearchParams(Object.entries(next).filter(([, value]) => value));
  const url = `${location.pathname}${query.size ? `?${query}` : ""}`;
  if (isReplacing) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  show();
}

function inspect(messageId) {
  const before = inspector.messageId;
  go({ ...place(), log: messageId }, true);
  if (!messageId) list.querySelector(`[data-log="${CSS.escape(before ?? "")}"]`)?.focus();
}

function show() {
  const { user, session, log } = place();
  sidebar.show(user, session);
  if ((conversation?.id ?? "") !== session) openConversation(session);
  if (log && inspector.messageId !== log) inspector.open(log).then(() => changedAll());
  if (!log) inspector.close();
  document.body.classList.toggle("has-inspector", Boolean(log));
  changedAll();
}

function openConversation(sessionId) {
  conversation?.close();
  views = new Map();
  list.replaceChildren();
  conversation = undefined;
  isFollowing = true;
  document.title = sessionId ? `${sessionId} – Throughline` : "Throughline";
  if (!sessionId) return;
  const opened = new Conversation(sessionId, {
    onChange: (messageId) => {
      if (conversation !== opened) return;
      if (messageId) changed.add(messageId);
      else changed = new Set(opened.messages.keys());
      schedule();
    },
    onFrame: (frame) => conversation === opened && inspector.take(frame),
  });
  conversation = opened;
  conversation.open().then(() => sidebar.refresh());
}

function changedAll() {
  changed = new Set(conversation?.messages.keys());
  schedule();
}

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  // A page in the background has no frames, and a connection that goes on.
  if (document.hidden) setTimeout(render, 250);
  else requestAnimationFrame(render);
}

function render() {
  isScheduled = false;
  const ids = changed;
  changed = new Set();
  renderBar();
  renderMessages(ids);
  composer.show(conversation);
  inspector.render(conversation?.messages.get(inspector.messageId));
}

function renderBar() {
  const bar = find("bar");
  if (!conversation) return bar.replaceChildren(h("span", { class: "faint" }, "No session"));
  connection.show(conversation.connection);
  const { id, session } = conversation;
  const title = typeof session?.metadata?.title === "string" ? session.metadata.title : "";
  const state = session?.state === "SESSION_STATE_CLOSED" ? "closed" : "";
  const shown = JSON.stringify([id, title, state]);
  if (bar.dataset.shown === shown && bar.contains(connection.node)) return;
  bar.dataset.shown = shown;
  const heading = h("h2", { class: "session-title", title: id }, title, " ", h("code", {}, id));
  bar.replaceChildren(heading, state && h("span", { class: "chip" }, state), connection.node);
}

function renderMessages(ids) {
  if (!conversation) return setChildren(list, [emptyState()]);
  const { phase } = conversation;
  const states = conversation.inOrder();
  if (phase instanceof Error) return setChildren(list, [failure(phase)]);
  if (states.length === 0) return setChildren(list, [phase === "loading" ? skeleton() : nothingYet()]);
  for (const id of ids) showMessage(id);
  const nodes = states.map(({ message }) => (views.get(message.messageId) ?? showMessage(message.messageId)).node);
  setChildren(list, conversation.earlier > 0 ? [earlier(), ...nodes] : nodes);
}

function showMessage(id) {
  const state = conversation.messages.get(id);
  if (!state) return views.delete(id);
  if (!views.has(id)) views.set(id, new MessageView(id, actions));
  const view = views.get(id);
  view.show(state);
  view.node.classList.toggle("is-inspected", inspector.messageId === id);
  return view;
}

const note = (title, ...rest) => h("div", { class: "state" }, h("h3", {}, title), ...rest);

const emptyState = () =>
  place().user
    ? note("Choose a session", h("p", {}, "Its messages appear here, as they are written."))
    : note("Whose conversations?", h("p", {}, "Enter the id of a user at the left. The console shows the user's sessions, and their messages while they are written."));

const nothingYet = () =>
  note("No messages yet", h("p", {}, "What is written in this session appears here by itself. You can send the first message below."));

function failure(error) {
  const title = error.status === 404 ? "There is no such session" : "The session could not be loaded";
  const retry = h("button", { type: "button", onclick: () => conversation.retry() }, "Try again");
  return note(title, h("p", {}, `${error.message}.`), error.reason && h("p", { class: "faint" }, h("code", {}, error.reason)), retry);
}

const skeleton = () =>
  h("div", { class: "skeleton", "aria-busy": "true", "aria-label": "Loading messages" }, ["a", "b", "c", "d", "e"].map((width) => h("i", { class: `line-${width}` })));

const earlierButton = h("button", { type: "button", class: "earlier", onclick: loadEarlier });

function earlier() {
  setText(earlierButton, `Show ${Math.min(50, conversation.earlier)} earlier messages`);
  return earlierButton;
}

async function loadEarlier() {
  earlierButton.disabled = true;
  const height = scroll.scrollHeight - scroll.scrollTop;
  await conversation.loadEarlier().catch((error) => composer.fail(error));
  earlierButton.disabled = false;
  render();
  scroll.scrollTop = scroll.scrollHeight - height;
}

function noteScroll() {
  const left = scroll.scrollHeight - scroll.clientHeight - scroll.scrollTop;
  // More may have come since the page went to the end: only who goes up leaves it.
  isFollowing = left < 60 || (isFollowing && scroll.scrollTop >= lastTop);
  lastTop = scroll.scrollTop;
  jump.hidden = left < 200;
}

function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
}

jump.append(icon("down"), h("span", {}, "Latest"));
jump.addEventListener("click", toEnd);
scroll.addEventListener("scroll", noteScroll, { passive: true });
// Pictures grow when they have come, not when they are shown.
const resized = new ResizeObserver(() => (isFollowing ? toEnd() : noteScroll()));
resized.observe(list);
resized.observe(scroll);
addEventListener("popstate", show);
addEventListener("online", () => conversation?.retry());
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea");
  if (event.key === "Escape" && inspector.messageId) inspect();
  if (event.key === "/" && !isTyping && composer.focus()) event.preventDefault();
});
themeButton(find("theme"));
show();
