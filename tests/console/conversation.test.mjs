// A session as the console keeps it, before a service that says what a test wants.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";

const ROOT = "/api/v1/";
const server = createServer((request, response) => answer(request, response));
let Conversation;
/** What the service says: to be set by each test. */
let messages, getMessage, streams, refusals;

before(async () => {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  globalThis.document = { baseURI: `http://127.0.0.1:${server.address().port}/` };
  ({ Conversation } = await import("../../assets/console/conversation.js"));
});
after(() => server.close());
beforeEach(() => {
  [messages, streams, refusals] = [[], [], 0];
  getMessage = () => messages[0];
});

async function answer(request, response) {
  const url = new URL(request.url, "http://service");
  if (url.pathname === `${ROOT}sessions/s/stream`) return openStream(request, response);
  const content = {
    info: () => ({ limits: { heartbeatInterval: "15s" } }),
    "sessions/s": () => ({ session: { sessionId: "s", messageCount: String(messages.length) } }),
    "sessions/s/messages": () => ({ messages }),
    "messages/m": async () => ({ message: await getMessage() }),
  }[url.pathname.slice(ROOT.length)];
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(await content()));
}

function openStream(request, response) {
  if (refusals-- > 0) return response.writeHead(404).end("{}");
  response.writeHead(200).flushHeaders();
  streams.push({ request, send: (name, data, id) => response.write(record(name, data, id)), cut: () => response.destroy() });
}

const record = (name, data, id) => `event: ${name}\n${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(data)}\n\n`;

const message = (sequence, fields) => ({ messageId: "m", sessionId: "s", sequence: String(sequence), createTime: "2026-01-01T00:00:00Z", ...fields });
const event = (sequence, fields = {}) => ({ messageId: "m", eventType: "EVENT_TYPE_CUSTOM", sequence: String(sequence), cursor: `${sequence}-1`, ...fields });

/** Opens the session; `until` waits until something is true of it. */
function open(t) {
  const frames = [];
  const waiting = new Set();
  const tell = () => {
    waiting.forEach((resolve) => resolve());
    waiting.clear();
  };
  const onFrame = (frame) => {
    frames.push(frame);
    tell();
  };
  const conversation = new Conversation("s", { onChange: tell, onFrame });
  t.after(() => {
    conversation.close();
    streams.forEach(({ cut }) => cut());
  });
  const until = async (condition) => {
    while (!condition()) await new Promise((resolve) => waiting.add(resolve));
  };
  conversation.open();
  /** Waits until a frame was taken in. */
  const frame = (id) => until(() => frames.some(({ cursor }) => cursor === id));
  return { conversation, until, frame };
}

const isLive = (conversation) => conversation.phase === "ready" && conversation.connection.state === "live";

test("what is told while a message is loaded anew is not lost", { timeout: 20_000 }, async (t) => {
  messages = [message(1)];
  const { conversation, until, frame } = open(t);
  await until(() => isLive(conversation));
  const answers = [message(5), message(6, { state: "MESSAGE_STATE_COMPLETED" })];
  getMessage = async () => {
    const next = answers.shift();
    if (answers.length > 0) {
      // The answer was true when it was read, and is late.
      streams[0].send("message_end", event(6), "6");
      await frame("6");
    }
    return next;
  };
  streams[0].send("custom", event(5), "5");
  await until(() => conversation.messages.get("m").message.state === "MESSAGE_STATE_COMPLETED");
});

test("who is refused and tries again is shown how things stand", { timeout: 20_000 }, async (t) => {
  messages = [message(1, { state: "MESSAGE_STATE_STREAMING" })];
  refusals = 1;
  const { conversation, until } = open(t);
  await until(() => conversation.connection.state === "refused" && conversation.phase === "ready");
  messages = [message(2, { state: "MESSAGE_STATE_COMPLETED" })];
  conversation.retry();
  await until(() => conversation.messages.get("m").message.state === "MESSAGE_STATE_COMPLETED");
});

test("an instance that stops takes no message with it", { timeout: 20_000 }, async (t) => {
  messages = [message(1)];
  const { conversation, until } = open(t);
  await until(() => isLive(conversation));
  streams[0].send("end", { messageId: "m", reason: "WATCH_END_REASON_SERVER_DRAINING" }, "1");
  streams[0].send("custom", event(2), "2");
  await until(() => conversation.messages.get("m")?.message.sequence === "2");
  streams[0].send("end", { messageId: "m", reason: "WATCH_END_REASON_DELETED" }, "3");
  await until(() => !conversation.messages.has("m"));
});

test("a stream goes on by a header, since a place may be too long for an address", { timeout: 20_000 }, async (t) => {
  const { conversation, until, frame } = open(t);
  await until(() => isLive(conversation));
  const place = "x".repeat(9_000);
  streams[0].send("caught_up", {}, place);
  await frame(place);
  streams[0].cut();
  await until(() => conversation.connection.state === "waiting");
  conversation.retry();
  await until(() => streams.length === 2);
  const { url, headers } = streams[1].request;
  assert.equal(url, `${ROOT}sessions/s/stream`);
  assert.equal(headers["last-event-id"], place);
});
