// A conversation that uses every kind of event and of content, told over REST.

const POEM = "Nachts trägt der Leuchtturm 🗼 sein Licht über die See – 夜の灯台. ";

/** Calls of the service at `origin`; an answer that is a refusal is thrown. */
export function service(origin) {
  return async (method, path, body) => {
    const response = await fetch(`${origin}/api/v1/${path}`, {
      method,
      headers: body && { "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text && JSON.parse(text);
  };
}

/** Makes a session with an open message of the assistant in it. */
export async function begin(call, userId, sessionId, metadata = {}) {
  const { session } = await call("POST", "sessions", { userId, sessionId, metadata });
  const message = await open(call, session.sessionId);
  return { sessionId: session.sessionId, ...message };
}

/** Opens a message of the assistant. */
export async function open(call, sessionId, fields = {}) {
  const request = { role: "ROLE_ASSISTANT", ...fields };
  const { message } = await call("POST", `sessions/${sessionId}/messages`, request);
  return { messageId: message.messageId };
}

/** Writes everything that a message may hold, and leaves it open. */
export async function tellAll(call, messageId) {
  const at = `messages/${messageId}`;
  const add = (block) => call("POST", `${at}/content`, { block });

  for (const delta of ["Grüezi, ", "Zürich ", "🌍", "."]) {
    await call("POST", `${at}/append`, { delta });
  }
  await add({ blockId: "thought", state: "BLOCK_STATE_OPEN", thinking: { text: "Let me " } });
  await call("POST", `${at}/append`, { blockId: "thought", delta: "think… ✨" });
  await add({ blockId: "long", state: "BLOCK_STATE_OPEN", markdown: { text: "# Poem\n\n" } });
  for (let line = 0; line < 4; line++) {
    await call("POST", `${at}/append`, { blockId: "long", delta: POEM.repeat(50) });
  }
  await add({ blockId: "code", state: "BLOCK_STATE_OPEN", code: { text: "let x", language: "js" } });
  await call("PATCH", `${at}/content/code`, {
    block: { state: "BLOCK_STATE_SEALED", code: { text: "let x = 1;", language: "js" } },
  });
  await add({ blockId: "sealed-long", text: { text: POEM.repeat(200) } });
  await add({ blockId: "json", json: { text: '{"a":[1,2,{"b":null}]}' } });
  await add({ blockId: "html", html: { text: "<p>Hello</p>" } });
  await add({ blockId: "sound", audio: { url: "https://example.com/a.mp3", mediaType: "audio/mpeg", duration: "4.5s" } });
  await add({ blockId: "file", file: { data: "aGVsbG8=", mediaType: "text/plain", filename: "a.txt" } });
  await add({ blockId: "call", toolCall: { text: '{"q":"x"}', callId: "c1", name: "search" } });
  await add({ blockId: "answer", toolResult: { text: "nothing", callId: "c1", isError: true } });
  await call("POST", `${at}/events`, { name: "usage", data: { tokens: 12 } });
  await tasks(call, at);
  await add({ blockId: "rewritten", state: "BLOCK_STATE_OPEN", text: { text: "abc" } });
  await call("PATCH", `${at}/content/rewritten`, {
    block: { state: "BLOCK_STATE_OPEN", text: { text: "äöü" }, metadata: { turn: 2 } },
  });
  await call("POST", `${at}/append`, { blockId: "rewritten", delta: "!" });
}

async function tasks(call, at) {
  const start = (taskId, contentType) =>
    call("POST", `${at}/tasks`, { taskId, taskType: "image_generation", placeholder: { contentType } });
  const update = (taskId, fields) => call("PATCH", `${at}/tasks/${taskId}`, fields);

  await start("image", "CONTENT_TYPE_IMAGE");
  await update("image", { status: "TASK_STATUS_PROCESSING", progress: 0.5, statusText: "painting" });
  await update("image", {
    status: "TASK_STATUS_COMPLETED",
    content: { image: { data: "iVBORw0KGgo=", mediaType: "image/png", caption: "A lighthouse", width: 2, height: 1 } },
  });
  await start("failing", "CONTENT_TYPE_TEXT");
  await update("failing", { status: "TASK_STATUS_FAILED", error: "no more paint" });
  await start("cancelled", "CONTENT_TYPE_FILE");
  await call("POST", `${at}/tasks/cancelled/cancel`, { reason: "not needed" });
  await start("left-open", "CONTENT_TYPE_AUDIO");
  await update("left-open", { status: "TASK_STATUS_PROCESSING", progress: 0.25 });
}

/** The whole retained log of a message. */
export async function logOf(call, messageId) {
  const events = [];
  let token = "";
  do {
    const page = await call("GET", `messages/${messageId}/events?page_size=1000&page_token=${encodeURIComponent(token)}`);
    events.push(...(page.events ?? []));
    token = page.nextPageToken ?? "";
  } while (token);
  return events;
}
