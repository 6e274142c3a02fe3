// Messages whose every text wants to run a script, or to have something fetched
// that would tell others of it.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { begin, service } from "../console/story.mjs";
import { A, launch, openConsole, picture } from "./support.mjs";

const call = service(`http://${A}`);
const RUN = "alert('ran')";

let browser;
let spy;
let hostile;
let svg;

before(async () => {
  browser = await launch();
  spy = await Spy.listen();
  hostile = [
    `<img src=x onerror="${RUN}"><script>${RUN}</script><svg onload="${RUN}"><iframe srcdoc="<script>${RUN}</script>">`,
    `[a](javascript:${RUN}) [b](data:text/html,<script>${RUN}</script>) ![c](${spy.url}.png) <javascript:${RUN}>`,
    `"><img src="${spy.url}.gif"><style>@import "${spy.url}.css"</style><link rel=stylesheet href="${spy.url}.css">`,
    `<meta http-equiv=refresh content="0;url=${spy.url}"><base href="${spy.url}/"><form action="${spy.url}"><button autofocus onfocus="${RUN}">`,
  ].join("\n\n");
  svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="${RUN}"><script>${RUN}</script><image href="${spy.url}.png"/></svg>`;
});

after(async () => {
  await browser?.close();
  spy?.close();
});

/** A server elsewhere, that notes what it is asked for. */
class Spy {
  asked = [];
  #server = createServer((request, response) => {
    this.asked.push(request.url);
    response.end();
  });

  static async listen() {
    const spy = new Spy();
    await new Promise((resolve) => spy.#server.listen(0, "127.0.0.1", resolve));
    return spy;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/spy`;
  }

  close() {
    this.#server.close();
  }
}

/** A session that has a hostile text wherever one can be. */
async function hostileSession() {
  const metadata = { title: hostile };
  const { sessionId, messageId } = await begin(call, "mallory", "hostile", metadata);
  const at = `messages/${messageId}`;
  const text = hostile;
  const url = `javascript:${RUN}`;
  const blocks = [
    { text: { text } }, { markdown: { text } }, { html: { text } }, { thinking: { text } },
    { code: { text, language: "<b onclick=alert(1)>", filename: hostile.slice(0, 200) } },
    { json: { text: JSON.stringify({ [hostile]: hostile }) } },
    { toolCall: { text, callId: "c", name: "<img src=x onerror=alert(1)>" } },
    { toolResult: { text, callId: "c", isError: true } },
    { image: { url, caption: text } }, { image: { url: `${spy.url}.png`, caption: text } },
    { image: { data: btoa(svg), mediaType: "image/svg+xml", caption: text } },
    { image: { data: btoa(svg), mediaType: "text/html,<script>" } },
    { audio: { url, caption: text } }, { video: { url, caption: text } },
    { file: { url, filename: hostile.slice(0, 200) } },
    { file: { data: btoa(text), filename: "../../x.html", mediaType: "text/html" } },
  ];
  for (const [index, block] of blocks.entries()) {
    await call("POST", `${at}/content`, { block: { blockId: `b${index}`, ...block } });
  }
  const task = { taskId: "t", taskType: "paint", params: { [hostile]: hostile }, placeholder: { contentType: "CONTENT_TYPE_IMAGE" } };
  await call("POST", `${at}/tasks`, task);
  await call("PATCH", `${at}/tasks/t`, { status: "TASK_STATUS_PROCESSING", statusText: hostile.slice(0, 600) });
  await call("POST", `${at}/events`, { name: "custom", data: { [hostile]: hostile } });
  await call("POST", `${at}/content`, { block: { blockId: "svg", image: { data: btoa(svg + " ".repeat(11_000)), mediaType: "image/svg+xml" } } });
  return { sessionId, messageId };
}

test("nothing that a message says is run, or fetched from elsewhere", async (t) => {
  const { sessionId, messageId } = await hostileSession();
  const origin = `http://${A}`;
  const { page, problems } = await openConsole(t, browser, origin, `?user=mallory&session=${sessionId}&log=${messageId}`);
  const message = page.locator(`article[data-id="${messageId}"]`);
  await message.locator(".placeholder").waitFor();
  await message.getByRole("button", { name: "Preview" }).click();
  for (const fold of await page.locator("details").all()) await fold.evaluate((node) => (node.open = true));
  for (const link of await message.locator("a").all()) {
    const target = new URL(await link.evaluate((node) => node.href));
    assert.ok(["http:", "https:"].includes(target.protocol), target.href);
  }
  await page.frames().at(-1).locator("button").waitFor();
  await picture(page, "hostile");

  assert.deepEqual(spy.asked, []);
  assert.deepEqual(problems.filter((problem) => !/Content Security Policy|sandboxed/.test(problem)), []);
  assert.equal(await message.locator("script, style, link, meta, form, object, embed").count(), 0);
});

test("content that is opened by itself runs nothing either", async (t) => {
  const { messageId } = await hostileSession();
  const { page, problems } = await openConsole(t, browser, `http://${A}`);
  for (const block of ["b2", "svg"]) {
    const response = await page.goto(`http://${A}/api/v1/messages/${messageId}/content/${block}`);
    assert.match(response.headers()["content-security-policy"], /sandbox/);
  }
  assert.deepEqual(spy.asked, []);
  assert.deepEqual(problems.filter((problem) => problem.startsWith("dialog")), []);
});
