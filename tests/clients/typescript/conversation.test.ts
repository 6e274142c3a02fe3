// A simple conversation, written and watched by a generated client: every call
// goes to the other instance than the one before.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { createClient, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { EventType } from "./gen/throughline/v1/event_pb.js";
import { MessageState, Role } from "./gen/throughline/v1/message_pb.js";
import { MessageService, type WatchMessageResponse } from "./gen/throughline/v1/message_service_pb.js";
import { SessionService } from "./gen/throughline/v1/session_service_pb.js";
import { WatchEndReason } from "./gen/throughline/v1/watch_pb.js";

type Clients = { sessions: Client<typeof SessionService>; messages: Client<typeof MessageService> };

const WATCH_TIMEOUT_MS = 30_000;
const CHUNKS = ["Once", " upon a time", " in Zürich", " 🌍", "."];

const instances = ["THROUGHLINE_A", "THROUGHLINE_B"].map((name): Clients => {
  const address = process.env[name];
  assert.ok(address, `${name} names no instance: run tests/clients/run.sh`);
  const transport = createGrpcTransport({ baseUrl: `http://${address}`, defaultTimeoutMs: 10_000 });
  return {
    sessions: createClient(SessionService, transport),
    messages: createClient(MessageService, transport),
  };
});

let calls = 0;

/** The instance that was not asked last. */
function other(): Clients {
  return instances[calls++ % instances.length]!;
}

async function startMessage(): Promise<string> {
  const { session } = await other().sessions.createSession({ userId: "user_123" });
  const request = { sessionId: session!.sessionId, messageId: randomUUID(), role: Role.ASSISTANT };
  const first = await other().messages.createMessage(request);
  const second = await other().messages.createMessage(request);
  assert.deepEqual([first.created, second.created], [true, false]);
  return request.messageId;
}

async function append(messageId: string, chunks: string[]): Promise<void> {
  for (const delta of chunks) {
    await other().messages.appendText({ messageId, delta, requestId: randomUUID() });
  }
}

/** Watches from the cursor up to the first frame that `enough` holds for. */
async function watchUntil(
  messageId: string,
  cursor: string,
  enough: (seen: WatchMessageResponse[]) => boolean | Promise<boolean>,
): Promise<WatchMessageResponse[]> {
  const seen: WatchMessageResponse[] = [];
  // Leaving the loop does not end the stream, and Connect's own timeout keeps the
  // process alive for its whole length.
  const cut = new AbortController();
  const timeout = setTimeout(() => cut.abort(new Error("the watch took too long")), WATCH_TIMEOUT_MS);
  const options = { signal: cut.signal, timeoutMs: 0 };
  try {
    for await (const frame of other().messages.watchMessage({ messageId, cursor }, options)) {
      seen.push(frame);
      if (await enough(seen)) break;
    }
  } finally {
    clearTimeout(timeout);
    cut.abort();
  }
  return seen;
}

const untilEnd = () => false;
const untilFirstChunk = (seen: WatchMessageResponse[]) => read(seen).text === CHUNKS[0];

/** What the events say, in order: their sequences, types and text. */
function read(frames: WatchMessageResponse[]) {
  const events = frames.flatMap(({ frame }) => (frame.case === "event" ? [frame.value] : []));
  const deltas = events.map(({ payload }) => (payload.case === "textDelta" ? payload.value.delta : ""));
  return {
    sequences: events.map(({ sequence }) => Number(sequence)),
    types: events.map(({ eventType }) => EventType[eventType]),
    text: deltas.join(""),
  };
}

test("a conversation is one text, whichever instance was asked", async () => {
  const messageId = await startMessage();
  await append(messageId, CHUNKS);
  await other().messages.endMessage({ messageId });

  const { message } = await other().messages.getMessage({ messageId });
  assert.equal(message?.state, MessageState.COMPLETED);
  assert.equal(message.text, CHUNKS.join(""));
});

test("a watch that is cut resumes on the other instance at the exact event", async () => {
  const messageId = await startMessage();
  await append(messageId, CHUNKS.slice(0, 2));

  const seen = await watchUntil(messageId, "0", untilFirstChunk);
  // Four calls lie between the two watches, which so go to different instances.
  await append(messageId, CHUNKS.slice(2));
  await other().messages.endMessage({ messageId });
  seen.push(...(await watchUntil(messageId, seen.at(-1)!.cursor, untilEnd)));

  const { sequences, types, text } = read(seen);
  assert.deepEqual(sequences, types.map((_, index) => index + 1));
  assert.deepEqual(types, [
    "MESSAGE_START",
    "CONTENT_ADDED",
    ...CHUNKS.map(() => "TEXT_DELTA"),
    "MESSAGE_END",
  ]);
  assert.equal(text, CHUNKS.join(""));
  const end = seen.at(-1)!.frame;
  assert.equal(end.case === "end" && end.value.reason, WatchEndReason.MESSAGE_ENDED);
});

test("a watcher sees a chunk while the message is being written", async () => {
  const messageId = await startMessage();
  const seen = await watchUntil(messageId, "0", async (seen) => {
    if (seen.at(-1)!.frame.case === "caughtUp") await append(messageId, CHUNKS.slice(0, 1));
    return untilFirstChunk(seen);
  });
  assert.deepEqual(read(seen).sequences, [1, 2, 3]);
});
