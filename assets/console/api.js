// Calls of the service's REST interface.

// Relative to the page, so that a proxy may serve it under a path of its own.
const ROOT = new URL("api/v1/", document.baseURI);

/** A refusal, as application/problem+json says it. Status 0: nobody answered. */
export class Refusal extends Error {
  constructor(status, { title, detail, reason } = {}) {
    super(detail || title || (status ? `status ${status}` : "the service does not answer"));
    this.status = status;
    this.reason = reason;
  }
}

/** The address of a resource; each part of the path is taken as it is. */
export function address(parts, query = {}) {
  const url = new URL(parts.map(encodeURIComponent).join("/"), ROOT);
  for (const [name, value] of Object.entries(query)) if (value !== "") url.searchParams.set(name, value);
  return url;
}

async function request(method, url, body) {
  const headers = body && { "content-type": "application/json" };
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) }).catch(() => {
    throw new Refusal(0);
  });
  if (!response.ok) throw await refusalOf(response);
  return response;
}

/** Why a response is no success. */
export const refusalOf = async (response) =>
  new Refusal(response.status, await response.json().catch(() => undefined));

const json = async (method, url, body) => (await request(method, url, body)).json();

/** How often a silent stream says that it is alive. */
export const heartbeatMs = async () =>
  1000 * parseFloat((await json("GET", address(["info"]))).limits?.heartbeatInterval ?? 0);

export const listSessions = (userId) =>
  json("GET", address(["sessions"], { user_id: userId, page_size: 100 }));

export const createSession = async (userId) =>
  (await json("POST", address(["sessions"]), { userId })).session;

export const getSession = async (sessionId) =>
  (await json("GET", address(["sessions", sessionId]))).session;

/** Up to `limit` messages, after the first `offset`; fewer where they are large. */
export const listMessages = async (sessionId, offset, limit) =>
  (await json("GET", address(["sessions", sessionId, "messages"], { offset, limit }))).messages ?? [];

export const getMessage = async (messageId) =>
  (await json("GET", address(["messages", messageId]))).message;

export const listEvents = (messageId, pageToken) =>
  json("GET", address(["messages", messageId, "events"], { page_size: 1000, page_token: pageToken }));

/** Sends what a user says. A repeat with the same id makes no second message. */
export const sendText = (sessionId, messageId, text) =>
  json("POST", address(["sessions", sessionId, "messages"]), {
    messageId,
    role: "ROLE_USER",
    blocks: [{ text: { text } }],
    complete: true,
  });

export const cancelMessage = (messageId) =>
  json("POST", address(["messages", messageId, "cancel"]), { reason: "cancelled in the console" });

/** Where the content of a block can be read as it is. */
export const contentAddress = (messageId, blockId) =>
  address(["messages", messageId, "content", blockId]);

export const readText = async (messageId, blockId) =>
  (await request("GET", contentAddress(messageId, blockId))).text();

/** An id for what may have to be sent twice. */
export function newId() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `console-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
