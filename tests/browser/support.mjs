// A browser, a network that can be cut, and a page that tells what went wrong in it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";

export const { THROUGHLINE_A: A, THROUGHLINE_B: B } = process.env;
const { THROUGHLINE_NODE_MODULES, THROUGHLINE_SCREENSHOTS, CHROMIUM } = process.env;
assert.ok(A && B, "no instances: run tests/browser/run.sh");

const { chromium } = createRequire(`${THROUGHLINE_NODE_MODULES}/`)("playwright-core");

// Nothing that the browser would fetch by itself; as root it has no sandbox.
const FLAGS = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
];

export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: FLAGS });

/** Passes connections on to an instance, until it is cut. */
export class Network {
  #server;
  #sockets = new Set();
  #port = 0;
  #to;

  /** A network of a test, that leads to this instance. */
  static async to(address, test) {
    const network = new Network();
    await network.restore(address);
    test.after(() => network.cut());
    return network;
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Ends all connections and refuses new ones. */
  async cut() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Lets connections through again, to this instance. */
  async restore(address) {
    this.#to = address;
    this.#server = net.createServer((near) => this.#pass(near));
    await new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = this.#server.address().port;
  }

  #pass(near) {
    const [host, port] = this.#to.split(":");
    const far = net.connect(Number(port), host);
    for (const [from, to] of [[near, far], [far, near]]) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}

/** A page of the console, with what went wrong in it and what it asked for. */
export async function openConsole(test, browser, origin, query = "", options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  test.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const problems = [];
  const requests = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    const isRefusal = /Failed to load resource/.test(message.text());
    if (message.type() === "error" && !isRefusal) problems.push(message.text());
  });
  page.on("request", (request) => requests.push(request));
  await page.goto(`${origin}/console${query}`);
  return { page, problems, requests };
}

/** Keeps a picture of the page for people to look at. */
export const picture = (page, name) =>
  page.screenshot({ path: path.join(THROUGHLINE_SCREENSHOTS, `${name}.png`) });

/** Waits until `read` gives what is expected. */
export async function until(read, expected) {
  const end = Date.now() + 15_000;
  for (;;) {
    const value = await read();
    if (value === expected) return;
    if (Date.now() > end) assert.equal(value, expected);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
