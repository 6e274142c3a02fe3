// One view for each kind of content. A view is made once for a block of a kind and
// then told, again and again, what the block holds.

import { address, contentAddress, readText } from "./api.js";
import { codeBlock, setCode } from "./code.js";
import { h, icon, setText } from "./dom.js";
import { contentOf, kindOf, textOf } from "./fold.js";
import { bytes, count, prettyJson, safeUrl, span, word } from "./format.js";
import { showMarkdown } from "./markdown.js";
import { OutcomeView, TaskView } from "./tasks.js";

/** Texts kept out of line up to this size are loaded by themselves. */
const LOAD_BYTES_MAX = 256 * 1024;

/** Which view a block needs: another one where this changes. */
export const viewKey = (block) => `${block.blockId}/${kindOf(block) ?? "placeholder"}`;

/** A view for the block: it has a `node`, and `show(state, block)`. */
export function viewOf(block) {
  const kind = kindOf(block);
  if (!kind) return new PlaceholderView();
  return ["image", "audio", "video", "file"].includes(kind) ? new MediaView(kind) : new TextualView(kind);
}

class PlaceholderView {
  #task = new TaskView();
  node = h("div", { class: "block placeholder" }, this.#task.node);

  show(state, block) {
    this.#task.show(state, block);
    this.node.classList.toggle("is-open", block.state === "BLOCK_STATE_PLACEHOLDER");
  }
}

/** What the kinds made of text have in common: the text may be elsewhere. */
class TextualView {
  #kind;
  #body;
  #missing = h("p", { class: "missing", hidden: true });
  #outcome = new OutcomeView();
  #asked;
  node;

  constructor(kind) {
    this.#kind = kind;
    this.#body = new BODIES[kind]();
    this.node = h("div", { class: "block", "data-kind": kind }, this.#body.node, this.#missing, this.#outcome.node);
  }

  show(state, block) {
    const text = textOf(state, block);
    this.node.classList.toggle("is-open", block.state === "BLOCK_STATE_OPEN");
    this.#missing.hidden = text !== undefined;
    this.#body.node.hidden = text === undefined;
    this.#outcome.show(state, block);
    if (text === undefined) this.#find(state, block);
    else this.#body.show(text, contentOf(block), block, state);
  }

  /** Loads a text that is kept out of line, or offers to. */
  #find(state, block) {
    const { contentId, size = 0 } = contentOf(block).contentRef ?? {};
    const key = contentId ?? `${block.blockId}@${size}`;
    if (this.#asked === key) return;
    this.#asked = key;
    const load = async () => {
      this.#missing.replaceChildren(`Loading ${bytes(size)}…`);
      try {
        const text = await readText(state.message.messageId, block.blockId);
        if (contentId) state.kept.set(contentId, text);
        this.#missing.hidden = true;
        this.#body.node.hidden = false;
        this.#body.show(text, contentOf(block), block, state);
      } catch (error) {
        this.#offer(`Could not be loaded: ${error.message}.`, "Try again", load);
      }
    };
    if (contentId && Number(size) <= LOAD_BYTES_MAX) load();
    else this.#offer(`${word(this.#kind)} of ${bytes(size)}`, "Load", load);
  }

  #offer(text, label, load) {
    this.#missing.replaceChildren(text, " ", h("button", { type: "button", onclick: load }, label));
  }
}

class Plain {
  node = h("div", { class: "plain" });

  show(text) {
    setText(this.node, text);
  }
}

class Markdown {
  #shown = [];
  node = h("div", { class: "prose" });

  show(text) {
    this.#shown = showMarkdown(this.node, this.#shown, text);
  }
}

class Code {
  node = h("div");
  #figure;
  #title;

  show(text, { language, filename }) {
    const title = `${filename}/${language}`;
    if (this.#title !== title) {
      this.#title = title;
      this.#figure = codeBlock(text, { language, filename });
      this.node.replaceChildren(this.#figure);
    }
    setCode(this.#figure, text);
  }
}

class Json {
  #figure = codeBlock("", { language: "json" });
  node = this.#figure;

  show(text) {
    setCode(this.#figure, prettyJson(text));
  }
}

// Scripts are off in the frame, and the page's own rules for content hold in it.
const sandboxed = globalThis.trustedTypes?.createPolicy("sandboxed-preview", { createHTML: (text) => text });

class Html {
  #figure = codeBlock("", { language: "html" });
  #frame = h("iframe", { class: "preview", sandbox: "", title: "Preview without scripts", hidden: true });
  #toggle = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => this.#flip() }, "Preview");
  #text = "";
  node = h("div", {}, this.#figure, this.#frame);

  constructor() {
    this.#figure.querySelector("figcaption").firstChild.after(this.#toggle);
  }

  show(text) {
    this.#text = text;
    setCode(this.#figure, text);
    if (!this.#frame.hidden) this.#preview();
  }

  #flip() {
    this.#frame.hidden = !this.#frame.hidden;
    this.#figure.querySelector("pre").hidden = !this.#frame.hidden;
    this.#toggle.setAttribute("aria-pressed", String(!this.#frame.hidden));
    if (!this.#frame.hidden) this.#preview();
  }

  #preview() {
    this.#frame.srcdoc = sandboxed ? sandboxed.createHTML(this.#text) : this.#text;
  }
}

/** A text that is folded away behind a line that says what it is. */
class Folded {
  label = h("span", { class: "fold-label" });
  note = h("span", { class: "fold-note" });
  body = h("div", { class: "fold-body" });
  node = h("details", { class: "fold" }, h("summary", {}, this.label, this.note), this.body);
}

class Thinking extends Folded {
  show(text, content, block) {
    const isOpen = block.state === "BLOCK_STATE_OPEN";
    setText(this.label, isOpen ? "Thinking…" : "Thinking");
    setText(this.note, count(text.length, "character"));
    setText(this.body, text);
  }
}

class ToolCall extends Folded {
  #code = codeBlock("", { language: "arguments" });

  constructor() {
    super();
    this.body.append(this.#code);
    this.label.before(icon("tool"));
  }

  show(text, { name, callId }, block, state) {
    setText(this.label, name || "tool call");
    setText(this.note, oneLine(text));
    setCode(this.#code, prettyJson(text));
    const isAnswered = state.message.blocks?.some(({ toolResult }) => callId && toolResult?.callId === callId);
    this.node.classList.toggle("is-answered", Boolean(isAnswered));
  }
}

class ToolResult extends Folded {
  #code = codeBlock("", { language: "result" });

  constructor() {
    super();
    this.body.append(this.#code);
  }

  show(text, { callId, isError }, block, state) {
    const call = state.message.blocks?.find(({ toolCall }) => callId && toolCall?.callId === callId);
    const whose = call?.toolCall.name ? ` of ${call.toolCall.name}` : "";
    setText(this.label, (isError ? "Error" : "Result") + whose);
    setText(this.note, oneLine(text));
    setCode(this.#code, prettyJson(text));
    this.node.classList.toggle("is-error", Boolean(isError));
  }
}

const oneLine = (text) => text.slice(0, 120).replace(/\s+/g, " ");

const BODIES = {
  text: Plain,
  markdown: Markdown,
  code: Code,
  json: Json,
  html: Html,
  thinking: Thinking,
  toolCall: ToolCall,
  toolResult: ToolResult,
};

/** Pictures of the conversation's own are shown; all else is a link to follow. */
class MediaView {
  #kind;
  #shown;
  #task = new TaskView();
  #body = h("div");
  node;

  constructor(kind) {
    this.#kind = kind;
    this.node = h("div", { class: "block media", "data-kind": kind }, this.#body, this.#task.node);
  }

  show(state, block) {
    this.#task.show(state, block);
    const shown = JSON.stringify([block[this.#kind], block.error]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const media = block[this.#kind];
    const isPicture = this.#kind === "image" && media.url === undefined;
    this.#body.replaceChildren(isPicture ? picture(state, block) : card(this.#kind, state, block));
  }
}

function picture(state, block) {
  const { caption, width, height } = block.image;
  const src = pictureAddress(state.message.messageId, block.blockId, block.image);
  // What the browser can't draw can still be had as a file.
  const onerror = () => figure.replaceWith(card("image", state, block));
  const node = h("img", { src, alt: caption ?? "", width, height, decoding: "async", onerror });
  const figure = h("figure", { class: "picture" }, node, caption && h("figcaption", {}, caption));
  return figure;
}

function pictureAddress(messageId, blockId, { data, mediaType, contentRef }) {
  if (data !== undefined) return `data:${mediaType || "image/png"};base64,${data}`;
  // A preview and the result after it are one block, and two contents.
  const { contentId } = contentRef ?? {};
  return (contentId ? address(["content", contentId]) : contentAddress(messageId, blockId)).href;
}

const KIND_ICONS = { image: "image", audio: "sound", video: "film", file: "file" };

function card(kind, { message }, block) {
  const media = block[kind];
  const isElsewhere = media.url !== undefined;
  const href = isElsewhere ? safeUrl(media.url) : contentAddress(message.messageId, block.blockId).href;
  const name = media.filename || media.caption || (isElsewhere ? media.url : kind);
  const host = isElsewhere && href && new URL(href).host;
  const facts = [media.mediaType, sizeOf(media), lengthOf(media), pixelsOf(media), host].filter(Boolean).join(" · ");
  const download = isElsewhere ? undefined : media.filename || `${block.blockId}`;
  const link = { class: "card", href, download, target: "_blank", rel: "noopener noreferrer nofollow" };
  const about = h("span", { class: "card-text" }, h("span", { class: "card-name" }, name), h("span", { class: "card-facts" }, facts));
  return h(href ? "a" : "div", href ? link : { class: "card" }, icon(KIND_ICONS[kind]), about, href && icon(isElsewhere ? "open" : "down"));
}

const sizeOf = ({ size, contentRef }) => (size ?? contentRef?.size) && bytes(size ?? contentRef.size);
const lengthOf = ({ duration }) => duration && span(parseFloat(duration) * 1000);
const pixelsOf = ({ width, height }) => width && height && `${width} × ${height}`;
