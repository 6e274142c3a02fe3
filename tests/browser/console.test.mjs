// The console in a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { apply } from "../../assets/console/fold.js";
import { begin, logOf, open, service, tellAll } from "../console/story.mjs";
import { A, B, launch, Network, openConsole, picture, until } from "./support.mjs";

const call = service(`http://${A}`);
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

const messageIn = (page, messageId) => page.locator(`article[data-id="${messageId}"]`);
const sequences = (page) => page.locator(".events > li[data-sequence]").evaluateAll((rows) => rows.map((row) => Number(row.dataset.sequence)));
const oneTo = (last) => Array.from({ length: last }, (_, index) => index + 1);

test("a message is seen while it is written, and goes on where the network was cut", async (t) => {
  const { sessionId, messageId } = await begin(call, "ada", "streaming", { title: "A streaming answer" });
  const append = (delta) => call("POST", `messages/${messageId}/append`, { delta });
  const network = await Network.to(A, t);
  const { page, problems, requests } = await openConsole(t, browser, network.origin, `?user=ada&session=${sessionId}&log=${messageId}`);
  const text = messageIn(page, messageId).locator(".plain");
  const connection = page.locator(".connection");

  await connection.filter({ hasText: "Live" }).waitFor();
  let written = "";
  for (const delta of ["Three keepers ", "climb the stairs ", "in Zürich 🌍. "]) {
    await append(delta);
    written += delta;
    await until(() => text.textContent(), written);
  }
  await picture(page, "streaming");

  await network.cut();
  await connection.filter({ hasText: "Cut off" }).waitFor();
  for (const delta of ["The first lights the lamp, ", "the second turns the lens, ", "the third writes."]) {
    await append(delta);
    written += delta;
  }
  assert.notEqual(await text.textContent(), written);
  await picture(page, "cut");

  await network.restore(B);
  await connection.locator("button").click();
  await until(() => text.textContent(), written);
  await call("POST", `messages/${messageId}/complete`, {});
  await messageIn(page, messageId).and(page.locator('[aria-busy="false"]')).waitFor();

  const { message } = await call("GET", `messages/${messageId}`);
  assert.equal(message.text, written);
  await until(async () => String(await sequences(page)), String(oneTo(Number(message.sequence))));
  const notes = await page.locator(".events .note").allTextContents();
  assert.equal(notes.filter((note) => note === "connection lost").length, 1);
  assert.match(notes.at(-1), /^resumed after \d+-\d+$/);
  assert.ok(!notes.slice(notes.indexOf("connection lost")).some((note) => note.startsWith("snapshot")), String(notes));
  const streams = requests.filter((request) => request.url().includes("/stream"));
  assert.ok(await streams.at(-1).headerValue("last-event-id"));
  await picture(page, "resumed");
  assert.deepEqual(problems.filter((problem) => !/ERR_/.test(problem)), []);
});

test("a task's placeholder shows its progress, and becomes its result", async (t) => {
  const { sessionId, messageId } = await begin(call, "ada", "task", { title: "A picture" });
  const { page, problems } = await openConsole(t, browser, `http://${A}`, `?user=ada&session=${sessionId}`);
  const message = messageIn(page, messageId);
  const task = (fields) => call("PATCH", `messages/${messageId}/tasks/paint`, fields);

  await call("POST", `messages/${messageId}/tasks`, {
    taskId: "paint",
    taskType: "image_generation",
    params: { prompt: "a lighthouse at dusk" },
    placeholder: { contentType: "CONTENT_TYPE_IMAGE" },
  });
  await message.getByText("pending").waitFor();
  await message.getByText("a lighthouse at dusk").waitFor();
  await task({ status: "TASK_STATUS_PROCESSING", progress: 0.5, statusText: "mixing colours" });
  await message.getByText("50 %").waitFor();
  assert.equal(await message.locator("progress").evaluate((bar) => bar.value), 0.5);
  await message.getByText("mixing colours").waitFor();
  await picture(page, "task");

  await task({ status: "TASK_STATUS_COMPLETED", content: { image: { data: PNG, mediaType: "image/png", caption: "A lighthouse" } }, outcome: { stopReason: "STOP_REASON_DONE", usage: { toolCalls: 1 } } });
  const image = message.locator("img[alt='A lighthouse']");
  await image.waitFor();
  assert.equal(await image.evaluate((img) => img.decode().then(() => img.naturalWidth)), 1);
  assert.equal(await message.locator(".placeholder").count(), 0);
  await message.getByText(/completed in/).waitFor();
  await message.getByText("done · 1 tool call").waitFor();
  await picture(page, "task-result");
  assert.deepEqual(problems, []);
});

test("under an answer stands why the work on it stopped, and what it took", async (t) => {
  const { sessionId, messageId } = await begin(call, "ada", "outcome", { title: "An answer" });
  const { page, problems } = await openConsole(t, browser, `http://${A}`, `?user=ada&session=${sessionId}`);
  await call("POST", `messages/${messageId}/tasks`, { taskId: "answer", taskType: "critic", placeholder: { contentType: "CONTENT_TYPE_TEXT" } });
  await call("PATCH", `messages/${messageId}/tasks/answer`, {
    status: "TASK_STATUS_COMPLETED",
    content: { text: { text: "Three keepers write the log." } },
    outcome: { stopReason: "STOP_REASON_MAX_ITERATIONS", usage: { modelCalls: 8, inputTokens: 5300, outputTokens: 910 } },
  });
  const answer = messageIn(page, messageId).locator('[data-kind="text"]');
  await answer.getByText("Three keepers write the log.").waitFor();
  await answer.getByText("max iterations · 8 model calls · 5,300 tokens in · 910 tokens out").waitFor();
  await picture(page, "outcome");
  assert.deepEqual(problems, []);
});

test("what the page has folded is what the service says, for every kind of content", async (t) => {
  const { sessionId, messageId } = await begin(call, "ada", "kinds", { title: "Every kind of content" });
  const { page, problems } = await openConsole(t, browser, `http://${B}`, `?user=ada&session=${sessionId}&log=${messageId}`);
  await page.getByRole("button", { name: "Message", exact: true }).click();
  await page.locator(".connection").filter({ hasText: "Live" }).waitFor();
  await tellAll(call, messageId);
  const folded = async () => {
    const { message } = await call("GET", `messages/${messageId}`);
    const { text, ...expected } = message;
    await until(() => page.locator(".state-json").textContent().then((json) => json && JSON.parse(json).cursor), expected.cursor);
    assert.deepEqual(JSON.parse(await page.locator(".state-json").textContent()), expected);
    return expected;
  };
  await folded();
  await picture(page, "kinds-open");
  await call("POST", `messages/${messageId}/complete`, { state: "MESSAGE_STATE_FAILED", error: "out of words" });
  const expected = await folded();

  const events = await logOf(call, messageId);
  assert.deepEqual(events.reduce(apply, undefined).message, expected);
  const kept = messageIn(page, messageId).locator('[data-kind="markdown"] .prose');
  assert.match(await kept.textContent(), /^Poem.*Nachts/s);
  assert.match(await messageIn(page, messageId).locator('[data-kind="text"]').nth(1).textContent(), /夜の灯台/);
  await messageIn(page, messageId).getByText("no more paint").waitFor();
  // The picture of the story is cut off after its first bytes.
  await messageIn(page, messageId).locator("a.card").getByText("A lighthouse").waitFor();
  await page.getByRole("button", { name: "Events" }).click();
  await page.locator(".events summary").nth(3).click();
  await picture(page, "kinds-ended");
  assert.deepEqual(problems, []);
});

test("a text is sent as the user's message, and a message is cancelled", async (t) => {
  const { sessionId, messageId } = await begin(call, "ada", "talk", { title: "A talk" });
  const { page, problems } = await openConsole(t, browser, `http://${A}`, `?user=ada&session=${sessionId}`);
  const box = page.getByRole("textbox", { name: "Message as the user" });
  await box.fill("Good evening,\nkeeper.");
  await box.press("Enter");
  const sent = page.locator('article[data-role="user"]');
  await sent.getByText("Good evening,").waitFor();
  assert.equal(await box.inputValue(), "");
  const { message } = await call("GET", `messages/${await sent.getAttribute("data-id")}`);
  assert.deepEqual([message.role, message.state, message.text], ["ROLE_USER", "MESSAGE_STATE_COMPLETED", "Good evening,\nkeeper."]);

  await messageIn(page, messageId).getByRole("button", { name: "Cancel" }).click();
  await messageIn(page, messageId).getByText("cancel requested").waitFor();
  assert.equal((await call("GET", `messages/${messageId}`)).message.cancelRequested, true);
  await call("POST", `messages/${messageId}/complete`, { state: "MESSAGE_STATE_CANCELLED" });
  await messageIn(page, messageId).locator('.chip[data-state="cancelled"]').waitFor();
  await picture(page, "cancelled");
  assert.deepEqual(problems, []);
});

test("what is not sent stays in the box, and is sent once", async (t) => {
  const { sessionId } = await begin(call, "ada", "unsent", {});
  const network = await Network.to(A, t);
  const { page } = await openConsole(t, browser, network.origin, `?user=ada&session=${sessionId}`);
  const box = page.getByRole("textbox", { name: "Message as the user" });
  await page.locator(".connection").filter({ hasText: "Live" }).waitFor();
  await box.fill("Are you there?");
  await network.cut();
  await box.press("Enter");
  await page.getByText("Not sent: the service does not answer.").waitFor();
  await picture(page, "unsent");
  await network.restore(B);
  await box.press("Enter");
  await page.locator('article[data-role="user"]').getByText("Are you there?").waitFor();
  const { messages } = await call("GET", `sessions/${sessionId}/messages`);
  assert.equal(messages.filter(({ role }) => role === "ROLE_USER").length, 1);
});

test("the page can be used with the keyboard alone", async (t) => {
  const { messageId } = await begin(call, "keys", "keys-1", { title: "First" });
  await begin(call, "keys", "keys-2", { title: "Second" });
  const { page, problems } = await openConsole(t, browser, `http://${A}`);
  await page.getByText("Whose conversations?").waitFor();
  await picture(page, "empty");
  await page.keyboard.type("keys");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "First" }).waitFor();
  for (const key of ["Tab", "Tab", "Tab", "Tab", "ArrowDown", "Enter"]) await page.keyboard.press(key);
  await messageIn(page, messageId).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("hello");
  await page.keyboard.press("Enter");
  await page.locator('article[data-role="user"]').getByText("hello").waitFor();
  const log = messageIn(page, messageId).getByRole("button", { name: "Show the log" });
  await log.focus();
  await page.keyboard.press("Enter");
  await page.locator(".events li").first().waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#inspector").waitFor({ state: "hidden" });
  assert.ok(await log.evaluate((button) => button === document.activeElement));
  assert.deepEqual(problems, []);
});

test("what is not there is said, light and dark", async (t) => {
  const { sessionId } = await begin(call, "ada", "dark", { title: "After dark" });
  await tellAll(call, (await open(call, sessionId)).messageId);
  for (const colorScheme of ["light", "dark"]) {
    const missing = await openConsole(t, browser, `http://${A}`, `?user=nobody-${colorScheme}&session=later-${colorScheme}`, { colorScheme });
    await missing.page.getByText("There is no such session").waitFor();
    await missing.page.getByText("This user has no sessions").waitFor();
    await picture(missing.page, `missing-${colorScheme}`);
    const { messageId } = await begin(call, `nobody-${colorScheme}`, `later-${colorScheme}`);
    await missing.page.getByRole("button", { name: "Try again" }).click();
    await messageIn(missing.page, messageId).waitFor();
    await missing.page.locator(".connection").filter({ hasText: "Live" }).waitFor();
    const shown = await openConsole(t, browser, `http://${A}`, `?user=ada&session=${sessionId}`, { colorScheme });
    await shown.page.locator("article").nth(1).getByText("painting").or(shown.page.getByText("A lighthouse")).first().waitFor();
    await picture(shown.page, `session-${colorScheme}`);
  }
});
