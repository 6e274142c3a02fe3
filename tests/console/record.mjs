// Writes recorded.json anew: node record.mjs http://localhost:50051 > recorded.json

import { begin, logOf, service, tellAll } from "./story.mjs";

const call = service(process.argv[2]);
const { messageId } = await begin(call, "recorder");
await tellAll(call, messageId);
const { message: open } = await call("GET", `messages/${messageId}`);
await call("POST", `messages/${messageId}/cancel`, { reason: "enough" });
await call("POST", `messages/${messageId}/complete`, { state: "MESSAGE_STATE_FAILED", error: "out of words" });
const { message: ended } = await call("GET", `messages/${messageId}`);
const events = await logOf(call, messageId);
const lines = events.map((event) => JSON.stringify(event)).join(",\n");
process.stdout.write(`{"events":[\n${lines}\n],\n"open":${JSON.stringify(open)},\n"ended":${JSON.stringify(ended)}}\n`);
