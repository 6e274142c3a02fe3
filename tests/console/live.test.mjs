// Server-sent events as the console reads them, and the way it goes on after a cut.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { eventsOf, Live } from "../../assets/console/live.js";

async function read(...pieces) {
  const body = new Blob(pieces.map((piece) => new TextEncoder().encode(piece))).stream();
  const events = [];
  for await (const event of eventsOf(body)) if (event) events.push(event);
  return events;
}

test("events are read as the standard has them", async () => {
  const text = ": heartbeat\nid: 2-1\n\nevent: text_delta\nid: 3-1\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\ndata: cut";
  assert.deepEqual(await read(text), [
    { name: "message", id: "2-1", data: undefined },
    { name: "text_delta", id: "3-1", data: "{\"a\":\n1}" },
    { name: "message", id: undefined, data: "x" },
  ]);
});

test("it doesn't matter where the network cuts an event in two", async () => {
  const bytes = new TextEncoder().encode("event: a\ndata: Zürich 🌍\n\ndata: b\n\n");
  for (let at = 1; at < bytes.length; at++) {
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(bytes.slice(0, at));
        controller.enqueue(bytes.slice(at));
        controller.close();
      },
    });
    const events = [];
    for await (const event of eventsOf(stream)) if (event) events.push(event.data);
    assert.deepEqual(events, ["Zürich 🌍", "b"], `cut at ${at}`);
  }
});

/** A server that answers each request with the next of `answers`. */
async function serve(t, answers) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.headers["last-event-id"]);
    const { status = 200, body = "" } = answers[asked.length - 1] ?? { status: 204 };
    response.writeHead(status).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { asked, url: `http://127.0.0.1:${server.address().port}` };
}

async function follow(url, silenceMax = () => 60_000) {
  const [seen, states] = [[], []];
  const live = new Live({
    address: url,
    onEvent: ({ data }) => seen.push(data),
    onState: ({ state, error }) => {
      states.push(error ?? state);
      if (state === "waiting") setTimeout(() => live.retry());
    },
    refusalOf: async (response) => `refused ${response.status}`,
    silenceMax,
  });
  await live.run();
  return { seen, states };
}

test("a stream that is cut goes on after the last event that was seen", async (t) => {
  const { url, asked } = await serve(t, [
    { body: "id: 1-a\ndata: one\n\nid: 2-b\ndata: two\n\nid: 3-c\ndata: cu" },
    { status: 503 },
    { body: "event: problem\ndata: {}\n\n" },
    { body: "id: 3-c\ndata: three\n\n" },
  ]);
  const { seen, states } = await follow(url);
  assert.deepEqual(seen, ["one", "two", "three"]);
  assert.deepEqual(asked, [undefined, "2-b", "2-b", "2-b", "3-c"]);
  assert.equal(states.at(-1), "ended");
});

test("a heartbeat moves the place from which a stream goes on", async (t) => {
  const { url, asked } = await serve(t, [{ body: "id: 1-a\ndata: one\n\n: heartbeat\nid: 2-b\n\n" }]);
  const { seen } = await follow(url);
  assert.deepEqual(seen, ["one"]);
  assert.deepEqual(asked, [undefined, "2-b"]);
});

test("how long a stream may be silent is asked anew before it is cut", async (t) => {
  let askedAgain;
  const isAskedAgain = new Promise((resolve) => (askedAgain = resolve));
  let requests = 0;
  const server = createServer(async (_, response) => {
    if (++requests > 1) return response.writeHead(204).end();
    response.writeHead(200).flushHeaders();
    await isAskedAgain;
    response.end("data: late\n\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  let times = 0;
  const silenceMax = () => {
    if (times++ === 0) return 20;
    askedAgain();
    return 60_000;
  };
  const { seen } = await follow(`http://127.0.0.1:${server.address().port}`, silenceMax);
  assert.deepEqual(seen, ["late"]);
});

test("who is refused doesn't ask again", async (t) => {
  const { url, asked } = await serve(t, [{ status: 404 }]);
  const { states } = await follow(url);
  assert.deepEqual(states, ["connecting", "refused 404"]);
  assert.equal(asked.length, 1);
});
