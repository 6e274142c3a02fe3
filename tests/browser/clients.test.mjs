// Generated clients in a page of another origin than the service's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { A, B, launch } from "./support.mjs";

const { THROUGHLINE_PAGE, THROUGHLINE_PAGE_ORIGIN } = process.env;
const KINDS = { ".html": "text/html", ".js": "text/javascript" };

let browser;
let server;

before(async () => {
  browser = await launch();
  server = createServer(async ({ url }, response) => {
    const name = path.basename(url);
    const body = await readFile(path.join(THROUGHLINE_PAGE, name)).catch(() => undefined);
    response.writeHead(body ? 200 : 404, { "content-type": KINDS[path.extname(name)] ?? "text/plain" }).end(body);
  });
  await new Promise((resolve) => server.listen(new URL(THROUGHLINE_PAGE_ORIGIN).port, "127.0.0.1", resolve));
});

after(async () => {
  await browser?.close();
  server?.close();
});

async function openPage() {
  const page = await browser.newPage();
  await page.goto(`${THROUGHLINE_PAGE_ORIGIN}/page.html`);
  await page.waitForFunction(() => "play" in globalThis);
  return page;
}

for (const protocol of ["connect", "connect, binary", "gRPC-Web"]) {
  test(`a page writes a conversation and watches it, by ${protocol}`, async () => {
    const page = await openPage();
    const played = await page.evaluate(([protocol, url]) => globalThis.play(protocol, url), [protocol, `http://${A}`]);
    const expected = await page.evaluate(() => globalThis.expected);
    assert.deepEqual(played.seen, expected);
    assert.equal(played.text, expected.join(""));
    assert.ok(played.isCompleted);
    assert.match(played.refusal, /not_found/);
    await page.close();
  });
}

test("a page of an origin that was not named may not call", async () => {
  const page = await openPage();
  const refused = page.evaluate((url) => globalThis.play("connect", url), `http://${B}`);
  await assert.rejects(refused, /Failed to fetch/);
  await page.close();
});
