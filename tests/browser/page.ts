// A simple conversation by generated clients in a page: written, and watched while
// it is written. The test that opens the page calls `play`.

import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { MessageState, Role } from "../gen/throughline/v1/message_pb.js";
import { MessageService } from "../gen/throughline/v1/message_service_pb.js";
import { SessionService } from "../gen/throughline/v1/session_service_pb.js";

const CHUNKS = ["Once", " upon a time", " in Zürich", " 🌍", "."];

const transports: Record<string, (baseUrl: string) => Transport> = {
  connect: (baseUrl) => createConnectTransport({ baseUrl }),
  "connect, binary": (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: true }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl }),
};

async function play(protocol: string, baseUrl: string) {
  const transport = transports[protocol]!(baseUrl);
  const sessions = createClient(SessionService, transport);
  const messages = createClient(MessageService, transport);

  const { session } = await sessions.createSession({ userId: "page" });
  const { message } = await messages.createMessage({ sessionId: session!.sessionId, role: Role.ASSISTANT });
  const messageId = message!.messageId;

  const seen: string[] = [];
  let written = 0;
  const writeNext = () => messages.appendText({ messageId, delta: CHUNKS[written++]! });
  for await (const { frame } of messages.watchMessage({ messageId, cursor: "0" })) {
    // The next chunk is written once the last was seen: so the stream is live.
    if (frame.case === "caughtUp") await writeNext();
    if (frame.case !== "event" || frame.value.payload.case !== "textDelta") continue;
    seen.push(frame.value.payload.value.delta);
    await (written < CHUNKS.length ? writeNext() : messages.endMessage({ messageId }));
  }
  const ended = await messages.getMessage({ messageId });
  const refusal = await messages.getMessage({ messageId: "unknown" }).catch((error) => error);
  return {
    seen,
    text: ended.message!.text,
    isCompleted: ended.message!.state === MessageState.COMPLETED,
    refusal: String(refusal),
  };
}

Object.assign(globalThis, { play, expected: CHUNKS });
