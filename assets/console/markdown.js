// Markdown into a tree of plain objects, and that into nodes. HTML in it is text.
// Pictures become links: an address that a model wrote is not asked for by itself,
// since the asking would tell others what the conversation says.

import { codeBlock } from "./code.js";
import { h, setChildren } from "./dom.js";
import { safeUrl } from "./format.js";

const DEPTH_MAX = 12;
// Each of these takes a run of spaces in one way only: if it had two, a long run would
// be tried in all of them.
const FENCE = /^ {0,3}(`{3,}|~{3,}(?!~))[ \t]*(?![ \t])([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(?![ \t])(.*))?$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-+*]|\d{1,9}[.)])(?:([ \t]{1,4})(?=\S)|[ \t]*$)/;
const UNDERLINE = /^ {0,3}([=-])\1*[ \t]*$/;
const DELIMITER_ROW = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$/;

/**
 * The blocks of a text, each `{ tag, children }`, or `{ tag: "pre", text, language }`,
 * with the `source` it came from.
 */
export const parse = (text) => blocksOf(text.split(/\r?\n/), 0);

function blocksOf(lines, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (lines[at].trim() === "") {
      at++;
      continue;
    }
    const { block, next } = blockAt(lines, at, depth);
    blocks.push({ ...block, source: lines.slice(at, next).join("\n") });
    at = next;
  }
  return blocks;
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return fence(lines, at);
  if (HEADING.test(line)) {
    const [, marks, text = ""] = line.match(HEADING);
    return { block: { tag: `h${marks.length}`, children: inline(unclosed(text)) }, next: at + 1 };
  }
  if (RULE.test(line)) return { block: { tag: "hr", children: [] }, next: at + 1 };
  if (depth < DEPTH_MAX && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth < DEPTH_MAX && ITEM.test(line)) return list(lines, at, depth);
  if (line.includes("|") && DELIMITER_ROW.test(lines[at + 1] ?? "")) return table(lines, at);
  return paragraph(lines, at);
}

/** A heading's text without the marks that may close it. */
function unclosed(text) {
  const trimmed = text.trimEnd();
  let end = trimmed.length;
  while (trimmed[end - 1] === "#") end--;
  return /\S/.test(trimmed[end - 1] ?? " ") ? trimmed : trimmed.slice(0, end).trimEnd();
}

function fence(lines, at) {
  const [, marks, info] = lines[at].match(FENCE);
  const indent = lines[at].search(/\S/);
  const closing = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end++;
  const text = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, Math.max(0, line.search(/\S|$/)))));
  const block = { tag: "pre", language: info.trim().split(/\s+/)[0] ?? "", text: text.join("\n") };
  return { block, next: end + 1 };
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && (QUOTE.test(lines[end]) || continues(lines, end))) end++;
  const inside = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return { block: { tag: "blockquote", children: blocksOf(inside, depth + 1) }, next: end };
}

/** Whether a line goes on with the paragraph before it. */
const continues = (lines, at) => lines[at].trim() !== "" && !opensBlock(lines[at]);

const opensBlock = (line) =>
  [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));

function list(lines, at, depth) {
  const isOrdered = /\d/.test(lines[at].match(ITEM)[2]);
  const start = isOrdered ? parseInt(lines[at].match(ITEM)[2], 10) : undefined;
  const items = [];
  let isLoose = false;
  while (at < lines.length && startsItem(lines[at], isOrdered)) {
    const { inside, next } = item(lines, at);
    isLoose ||= inside.some((line, index) => line.trim() === "" && index < inside.length - 1);
    items.push(listItem(inside, depth));
    at = next;
    while (at < lines.length && lines[at].trim() === "") at++;
  }
  const children = isLoose ? items : items.map(tight);
  return { block: { tag: isOrdered ? "ol" : "ul", start, children }, next: at };
}

function startsItem(line, isOrdered) {
  const found = !RULE.test(line) && line.match(ITEM);
  return Boolean(found) && /\d/.test(found[2]) === isOrdered;
}

/** The lines of an item without its mark and indentation, and where it ends. */
function item(lines, at) {
  const [mark] = lines[at].match(ITEM);
  const indent = /\s$/.test(mark) ? mark.length : mark.length + 1;
  const inside = [lines[at].slice(mark.length)];
  let next = at + 1;
  for (; next < lines.length; next++) {
    const line = lines[next];
    const isBlank = line.trim() === "";
    const isInside = isBlank || line.search(/\S/) >= Math.min(indent, 2);
    if (!isInside && (lines[next - 1].trim() === "" || opensBlock(line))) break;
    inside.push(line.slice(Math.min(indent, Math.max(0, line.search(/\S|$/)))));
  }
  while (inside.length > 1 && inside.at(-1).trim() === "") inside.pop();
  return { inside, next };
}

function listItem(inside, depth) {
  const [, mark] = inside[0].match(/^\[([ xX])\][ \t]+/) ?? [];
  if (mark !== undefined) inside = [inside[0].slice(4), ...inside.slice(1)];
  return { tag: "li", checked: mark === undefined ? undefined : mark !== " ", children: blocksOf(inside, depth + 1) };
}

/** An item whose paragraphs stand without space between them. */
const tight = (item) => ({
  ...item,
  children: item.children.flatMap((child) => (child.tag === "p" ? child.children : [child])),
});

function table(lines, at) {
  const align = cells(lines[at + 1]).map((cell) =>
    cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : undefined,
  );
  const row = (line, tag) => {
    const texts = cells(line);
    return { tag: "tr", children: align.map((side, index) => ({ tag, align: side, children: inline(texts[index] ?? "") })) };
  };
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end++;
  const head = { tag: "thead", children: [row(lines[at], "th")] };
  const body = { tag: "tbody", children: lines.slice(at + 2, end).map((line) => row(line, "td")) };
  return { block: { tag: "table", children: [head, body] }, next: end };
}

const cells = (line) =>
  line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && continues(lines, end) && !UNDERLINE.test(lines[end])) end++;
  const children = inline(lines.slice(at, end).join("\n").trim());
  const underline = lines[end]?.match(UNDERLINE);
  if (!underline) return { block: { tag: "p", children }, next: end };
  return { block: { tag: underline[1] === "=" ? "h1" : "h2", children }, next: end + 1 };
}

const SPECIAL = /[\\`*_~[\]<\n]|!\[|https?:\/\//g;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const BARE_LINK = /https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]}*_~]/y;
const TARGET = /\(\s*(?!\s)(?:<([^<>\n]*)>|([^\s()]*(?:\([^\s()]*\)[^\s()]*)*))(?:\s+(?!\s)(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)/y;
const PUNCTUATION = /[!-/:-@[-`{-~]/;

/** What stands in a line of text: strings and `{ tag, children }`. */
export function inline(text, depth = 0) {
  const brackets = depth < DEPTH_MAX ? pairs(text) : new Map();
  const parts = [];
  let at = 0;
  const push = (part, next) => {
    parts.push(part);
    at = next;
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text)?.index ?? text.length;
    if (found > at) push(text.slice(at, found), found);
    if (found === text.length) break;
    const { part, next } = inlineAt(text, at, brackets, depth);
    push(part, next);
  }
  return emphasise(parts);
}

function inlineAt(text, at, brackets, depth) {
  const character = text[at];
  const verbatim = { part: character, next: at + 1 };
  if (character === "\\") {
    if (text[at + 1] === "\n") return { part: { tag: "br", children: [] }, next: at + 2 };
    return PUNCTUATION.test(text[at + 1] ?? "") ? { part: text[at + 1], next: at + 2 } : verbatim;
  }
  if (character === "\n") return { part: text.endsWith("  ", at) ? { tag: "br", children: [] } : "\n", next: at + 1 };
  if (character === "`") return codeSpan(text, at);
  if (character === "[") return link(text, at, at, brackets, depth) ?? verbatim;
  if (character === "!") return link(text, at, at + 1, brackets, depth) ?? verbatim;
  if (character === "<" || character === "h") return bareLink(text, at) ?? verbatim;
  if (character === "*" || character === "_" || character === "~") return run(text, at);
  return verbatim;
}

function codeSpan(text, at) {
  const marks = text.slice(at).match(/^`+/)[0];
  let end = text.indexOf(marks, at + marks.length);
  while (end >= 0 && text[end + marks.length] === "`") {
    while (text[end] === "`") end++;
    end = text.indexOf(marks, end);
  }
  if (end < 0) return { part: marks, next: at + marks.length };
  const code = text.slice(at + marks.length, end).replaceAll("\n", " ");
  const isPadded = /^ .*\S.* $/.test(code);
  return { part: { tag: "code", children: [isPadded ? code.slice(1, -1) : code] }, next: end + marks.length };
}

/** For each "[" the place of its "]". */
function pairs(text) {
  const open = [];
  const found = new Map();
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "[") open.push(at);
    else if (text[at] === "]" && open.length > 0) found.set(open.pop(), at);
  }
  return found;
}

function link(text, at, bracket, brackets, depth) {
  const end = brackets.get(bracket);
  if (end === undefined) return undefined;
  TARGET.lastIndex = end + 1;
  const target = TARGET.exec(text);
  if (!target) return undefined;
  const href = safeUrl(target[1] ?? target[2]);
  const label = inline(text.slice(bracket + 1, end), depth + 1);
  return { part: { tag: href ? "a" : "span", href, children: label }, next: TARGET.lastIndex };
}

function bareLink(text, at) {
  const pattern = text[at] === "<" ? AUTOLINK : BARE_LINK;
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  const address = found?.[1] ?? found?.[0];
  const href = safeUrl(address);
  return href && { part: { tag: "a", href, children: [address] }, next: pattern.lastIndex };
}

/** A run of emphasis marks, and whether it may begin or end something. */
function run(text, at) {
  const mark = text[at];
  let end = at;
  while (text[end] === mark) end++;
  const before = text[at - 1] ?? " ";
  const after = text[end] ?? " ";
  const isSpace = (character) => /\s/.test(character);
  const isWord = (character) => /[\p{L}\p{N}]/u.test(character);
  const isPunctuation = (character) => !isSpace(character) && !isWord(character);
  const opens = !isSpace(after) && (!isPunctuation(after) || !isWord(before));
  const closes = !isSpace(before) && (!isPunctuation(before) || !isWord(after));
  const isInsideWord = mark === "_" && isWord(before) && isWord(after);
  const part = { mark, length: end - at, opens: opens && !isInsideWord, closes: closes && !isInsideWord };
  return { part, next: end };
}

/** How far back a mark looks for the one that it closes. */
const REACH = 500;

/** Joins what stands between marks that belong together. */
function emphasise(parts) {
  const done = [];
  for (const part of parts) {
    if (part.mark && part.closes) close(done, part);
    if (!part.mark || part.length > 0) done.push(part);
  }
  return done.map((part) => (part.mark ? part.mark.repeat(part.length) : part));
}

function close(done, closer) {
  while (closer.length > 0) {
    const at = opener(done, closer);
    if (at < 0) return;
    const used = Math.min(2, done[at].length, closer.length);
    if (closer.mark === "~" && used < 2) return;
    const tag = closer.mark === "~" ? "del" : used === 2 ? "strong" : "em";
    const inside = done.splice(at + 1).map((part) => (part.mark ? part.mark.repeat(part.length) : part));
    done[at].length -= used;
    closer.length -= used;
    if (done[at].length === 0) done.pop();
    done.push({ tag, children: inside });
  }
}

function opener(done, closer) {
  const last = Math.max(0, done.length - REACH);
  for (let at = done.length - 1; at >= last; at--) {
    const { mark, opens, length } = done[at];
    if (mark === closer.mark && opens && length > 0) return at;
  }
  return -1;
}

/** The nodes of a tree that `parse` made. */
export function nodeOf(part) {
  if (typeof part === "string") return document.createTextNode(part);
  if (part.tag === "pre") return codeBlock(part.text, { language: part.language });
  const children = part.children.map(nodeOf);
  switch (part.tag) {
    case "a":
      return h("a", { href: part.href, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
    case "ol":
      return h("ol", { start: part.start }, children);
    case "li":
      return h("li", { class: part.checked === undefined ? undefined : "task" }, checkbox(part), children);
    case "table":
      return h("div", { class: "table" }, h("table", {}, children));
    case "th":
    case "td":
      return h(part.tag, { class: part.align && `align-${part.align}` }, children);
    default:
      return h(part.tag, {}, children);
  }
}

const checkbox = ({ checked }) =>
  checked === undefined ? undefined : h("input", { type: "checkbox", disabled: true, checked });

/** Shows `text` in `node`. What was shown before and is the same stays. */
export function showMarkdown(node, shown, text) {
  const blocks = parse(text);
  const next = blocks.map((block, index) => {
    const old = shown[index];
    return old?.source === block.source ? old : { source: block.source, node: nodeOf(block) };
  });
  setChildren(node, next.map((block) => block.node));
  return next;
}
