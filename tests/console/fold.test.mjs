// The console's fold beside the service's own: recorded.json has the log of a
// message that uses every kind of event, and what GetMessage gave before and
// after its end. record.mjs wrote it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { apply, fromSnapshot, joinedText, placeOf, textOf } from "../../assets/console/fold.js";

const { events, open, ended } = JSON.parse(readFileSync(new URL("recorded.json", import.meta.url)));
const fold = (log, from) => log.reduce(apply, from);
const until = (sequence) => events.filter((event) => Number(event.sequence) <= Number(sequence));
const after = (sequence) => events.filter((event) => Number(event.sequence) > Number(sequence));
const without = ({ text, ...message }) => message;

test("the recorded log has every type of event", () => {
  const types = new Set(events.map(({ eventType }) => eventType));
  assert.equal(types.size, 13, [...types].join(" "));
});

test("the log adds up to what GetMessage gives while a message is written", () => {
  assert.deepEqual(fold(until(open.sequence)).message, without(open));
});

test("the log adds up to what GetMessage gives after the end", () => {
  assert.deepEqual(fold(events).message, without(ended));
});

test("every place of the log can be gone on from, by way of a snapshot", () => {
  for (const { sequence } of events) {
    const snapshot = structuredClone(fold(until(sequence)).message);
    const resumed = fold(after(sequence), fromSnapshot(snapshot));
    assert.deepEqual(resumed.message, without(ended), `from ${sequence}`);
  }
});

test("an event that comes again changes nothing", () => {
  const twice = events.flatMap((event, at) => events.slice(Math.max(0, at - 3), at + 1));
  assert.deepEqual(fold(twice).message, without(ended));
});

test("an event that is ahead is not taken in", () => {
  const state = fold(events.slice(0, 3));
  assert.equal(placeOf(state, events[4]), "ahead");
  assert.throws(() => apply(state, events[4]), RangeError);
  assert.equal(placeOf(undefined, events[1]), "ahead");
});

test("deltas that were joined are the same text, also where the first was seen", () => {
  const deltas = events.filter(({ textDelta }) => textDelta?.blockId === "long");
  const [first, last] = [deltas[0], deltas.at(-1)];
  const joined = {
    ...last,
    firstSequence: first.sequence,
    textDelta: { ...first.textDelta, delta: deltas.map(({ textDelta }) => textDelta.delta).join("") },
  };
  for (const seen of [Number(first.sequence) - 1, first.sequence, deltas[1].sequence]) {
    const state = fold([...until(seen), joined, ...after(last.sequence)]);
    assert.deepEqual(state.message, without(ended), `after ${seen}`);
    assert.equal(textOf(state, state.message.blocks.find(({ blockId }) => blockId === "long")), joined.textDelta.delta);
  }
});

test("a text that was seen growing is still known once it is kept out of line", () => {
  const state = fold(events);
  const block = state.message.blocks.find(({ blockId }) => blockId === "long");
  assert.equal(block.markdown.text, undefined);
  assert.match(textOf(state, block), /^# Poem\n\nNachts/);
  assert.match(textOf(fromSnapshot(ended, state), block), /^# Poem/);
});

test("what is not known of a text is its size alone", () => {
  const snapshot = structuredClone(fold(until(open.sequence)).message);
  const block = snapshot.blocks.find(({ blockId }) => blockId === "rewritten");
  block.text = { contentRef: { size: "7", mediaType: "text/plain" } };
  const delta = { ...events[0], eventType: "EVENT_TYPE_TEXT_DELTA", sequence: String(Number(open.sequence) + 1) };
  delta.textDelta = { blockId: "rewritten", offset: "7", delta: "ö" };
  const state = apply(fromSnapshot(snapshot), delta);
  const grown = state.message.blocks.find(({ blockId }) => blockId === "rewritten");
  assert.equal(grown.text.contentRef.size, "9");
  assert.equal(textOf(state, grown), undefined);
});

test("the text of a message is that of its text blocks", () => {
  const state = fold(until(open.sequence));
  const stored = state.message.blocks.find(({ blockId }) => blockId === "sealed-long");
  assert.equal(joinedText(state), open.text.replace(/Nachts.*夜の灯台\. /s, ""));
  assert.ok(stored.text.contentRef, "the text that is missing is kept out of line");
});

test("an event of a later version moves the cursor and changes nothing else", () => {
  const last = Number(open.sequence) + 1;
  const state = fold(until(open.sequence));
  const before = structuredClone(state.message);
  apply(state, { sequence: String(last), cursor: `${last}-1`, time: "t", eventType: "EVENT_TYPE_NEW" });
  assert.deepEqual(state.message, { ...before, sequence: String(last), cursor: `${last}-1`, updateTime: "t" });
});
