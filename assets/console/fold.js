// How a message follows from its log: events in, the state that GetMessage
// gives out. It knows neither network nor page.
//
// A state is `{ message, kept }`. `message` is the canonical JSON of a Message,
// but for its view `text`. `kept` has, by content id, texts that were seen while
// they grew and are a reference in `message` by now.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The fields of a block that hold its content, in the order of the contract. */
export const KINDS = [
  "text", "image", "audio", "video", "file", "code", "markdown", "html", "json", "thinking",
  "toolCall", "toolResult",
];

/** The state that a snapshot says. Texts that `before` has kept stay known. */
export function fromSnapshot(snapshot, before) {
  const { text, textTruncated, ...message } = structuredClone(snapshot);
  return { message, kept: new Map(before?.kept) };
}

/** Where the state stands: the sequence of the last event that it has taken in. */
export const sequenceOf = (state) => Number(state?.message.sequence ?? 0);

/**
 * What an event is to a state: "next", "seen" before, or "ahead" where events
 * between the two are missing. Only a state of the same message is asked.
 */
export function placeOf(state, event) {
  const head = sequenceOf(state);
  if (Number(event.sequence) <= head) return "seen";
  return firstOf(event) <= head + 1 ? "next" : "ahead";
}

/** Sequence of the first of the events that this one joins. */
const firstOf = (event) => Number(event.firstSequence ?? 0) || Number(event.sequence);

/**
 * The state after an event, which is changed in place; a new one for the first
 * event. An event that was seen before changes nothing; one that is ahead is an
 * error: ask `placeOf` first.
 */
export function apply(state, event) {
  const place = placeOf(state, event);
  if (place === "seen") return state;
  if (place === "ahead") throw new RangeError(`event ${event.sequence} after ${sequenceOf(state)}`);
  const next = state ?? started(event);
  change(next, event);
  Object.assign(next.message, {
    sequence: String(event.sequence),
    cursor: event.cursor,
    updateTime: event.time,
  });
  return next;
}

function started({ sessionId, messageId, time, messageStart = {} }) {
  const { role, metadata, parentMessageId } = messageStart;
  const message = { messageId, sessionId, role, state: "MESSAGE_STATE_STREAMING", createTime: time };
  if (metadata) message.metadata = metadata;
  if (parentMessageId) message.parentMessageId = parentMessageId;
  return { message, kept: new Map() };
}

function change(state, event) {
  const { message } = state;
  switch (event.eventType) {
    case "EVENT_TYPE_TEXT_DELTA":
      return appendText(message, event.textDelta, firstOf(event) <= sequenceOf(state));
    case "EVENT_TYPE_CONTENT_ADDED":
      (message.blocks ??= []).push(structuredClone(event.contentAdded.block));
      return;
    case "EVENT_TYPE_CONTENT_UPDATED":
      return replaceBlock(message, structuredClone(event.contentUpdated.block));
    case "EVENT_TYPE_TASK_STARTED":
      (message.tasks ??= []).push(structuredClone(event.taskStarted.task));
      return;
    case "EVENT_TYPE_TASK_PROGRESS":
      return replaceTask(message, event.taskProgress.task);
    case "EVENT_TYPE_TASK_COMPLETED":
      return replaceTask(message, event.taskCompleted.task);
    case "EVENT_TYPE_TASK_FAILED":
      return replaceTask(message, event.taskFailed.task);
    case "EVENT_TYPE_TASK_CANCELLED":
      return replaceTask(message, event.taskCancelled.task);
    case "EVENT_TYPE_CANCEL_REQUESTED":
      message.cancelRequested = true;
      return;
    case "EVENT_TYPE_MESSAGE_END":
      return end(state, event);
    // MESSAGE_START has made the state; ERROR and CUSTOM change nothing, nor
    // does what a later version of the service may tell.
  }
}

function appendText(message, { blockId, offset = 0, delta }, isPartlySeen) {
  const content = contentOf(blockOf(message, blockId));
  if (content?.text !== undefined) {
    content.text += isPartlySeen ? beyond(content.text, Number(offset), delta) : delta;
  } else if (content?.contentRef) {
    const length = Number(offset) + encoder.encode(delta).length;
    content.contentRef.size = String(Math.max(length, Number(content.contentRef.size ?? 0)));
  }
}

/** What a delta says beyond the end of the text. Offsets count bytes of UTF-8. */
function beyond(text, offset, delta) {
  const known = encoder.encode(text).length - offset;
  return decoder.decode(encoder.encode(delta).subarray(known));
}

function replaceBlock(message, block) {
  const blocks = message.blocks ?? [];
  const at = blocks.findIndex(({ blockId }) => blockId === block.blockId);
  if (at >= 0) blocks[at] = block;
}

function replaceTask(message, task) {
  const tasks = message.tasks ?? [];
  const at = tasks.findIndex(({ taskId }) => taskId === task.taskId);
  if (at >= 0) tasks[at] = structuredClone(task);
}

function end(state, { time, messageEnd }) {
  const { message } = state;
  message.state = messageEnd.state;
  message.endReason = messageEnd.endReason;
  message.endTime = time;
  if (messageEnd.error) message.error = messageEnd.error;
  const stored = new Map(messageEnd.sealedTexts?.map((text) => [text.blockId, text.contentRef]));
  for (const block of message.blocks ?? []) {
    if (block.state !== "BLOCK_STATE_OPEN") continue;
    block.state = "BLOCK_STATE_SEALED";
    if (stored.has(block.blockId)) storeAt(state, contentOf(block), stored.get(block.blockId));
  }
}

function storeAt(state, content, reference) {
  if (content.text !== undefined) state.kept.set(reference.contentId, content.text);
  delete content.text;
  content.contentRef = structuredClone(reference);
}

const blockOf = (message, id) => message.blocks?.find(({ blockId }) => blockId === id);

/** Which field holds the content of a block; undefined in a placeholder. */
export const kindOf = (block) => KINDS.find((kind) => block?.[kind] !== undefined);

/** What a block holds; undefined in a placeholder. */
export const contentOf = (block) => block?.[kindOf(block)];

/** The text of a block, where it is known without asking for it. */
export function textOf(state, block) {
  const content = contentOf(block);
  return content?.text ?? state.kept.get(content?.contentRef?.contentId);
}

/** The view `text` of a message: its TEXT blocks joined. */
export function joinedText(state) {
  const blocks = state.message.blocks ?? [];
  return blocks.filter((block) => block.text).map((block) => textOf(state, block) ?? "").join("");
}
