// Words, sizes and times for people.

/** "TASK_STATUS_COMPLETED" without its prefix, as a word: "completed". */
export const word = (value = "", prefix = "") =>
  value.replace(prefix, "").toLowerCase().replaceAll("_", " ");

/** The path of an event type in CSS and in SSE: "text_delta". */
export const eventName = (type = "") => type.replace("EVENT_TYPE_", "").toLowerCase();

/** A length in bytes, with three digits. */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB"];
  let value = Number(size);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit ? Number(value.toPrecision(3)) : value} ${units[unit]}`;
}

/** "1 message", "2 messages". */
export const count = (number, noun) =>
  `${Number(number).toLocaleString("en")} ${noun}${Number(number) === 1 ? "" : "s"}`;

/** A time of day, with the date where that is not today's. */
export function clock(time) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { day: "numeric", month: "short" };
  return date.toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit" });
}

/** How long ago something was: "now", "5 min", "3 h", "12 Nov". */
export function ago(time, now = Date.now()) {
  const minutes = Math.floor((now - Date.parse(time)) / 60_000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h`;
  return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

/** A span of time: "240 ms", "1.2 s", "2 min 5 s". */
export function span(milliseconds) {
  if (milliseconds < 1000) return `${Math.max(0, Math.round(milliseconds))} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** The end of an id, which tells those apart that were made one after the other. */
export const shortId = (id) => (id.length > 12 ? `…${id.slice(-8)}` : id);

/** A timestamp to sort by: those of the service differ in their digits. */
export function instant(time = "") {
  const [seconds, fraction = ""] = time.replace("Z", "").split(".");
  return `${seconds}.${fraction.padEnd(9, "0")}`;
}

/** JSON for reading; what isn't JSON (yet) stays as it is. */
export function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** An address that may be followed, or undefined: nothing but the web and mail. */
export function safeUrl(text = "") {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}
