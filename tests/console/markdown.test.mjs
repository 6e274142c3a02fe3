// Markdown as the console reads it: what a model writes becomes the tree that was
// meant, and no tree holds what could run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "../../assets/console/markdown.js";

/** A tree in short: `tag(children)`; of a link its address as well. */
function short(part) {
  if (typeof part === "string") return part;
  if (part.tag === "pre") return `pre[${part.language}](${part.text})`;
  return `${part.tag}${part.href ? `[${part.href}]` : ""}(${part.children.map(short).join("")})`;
}

const cases = {
  "# a #\n## #\n# b#  \n#": "h1(a) h2() h1(b#) h1()",
  "# Hi *there*\ntext": "h1(Hi em(there)) p(text)",
  "Title\n===\nand": "h1(Title) p(and)",
  "**a _b_** ~~c~~ `d *e*`": "p(strong(a em(b)) del(c) code(d *e*))",
  "***both***": "p(em(strong(both)))",
  "snake_case_name 2*3 **open": "p(snake_case_name 2*3 **open)",
  "a  \nb\\\nc": "p(a  br()bbr()c)",
  "- a\n- b\n  - c\n\nd": "ul(li(a)li(bul(li(c)))) p(d)",
  "2. a\n3. b": "ol(li(a)li(b))",
  "1. a\n\n   b\n\n2. c": "ol(li(p(a)p(b))li(p(c)))",
  "> q\n> - l\n\nafter": "blockquote(p(q)ul(li(l))) p(after)",
  "a\n\n---\n\nb": "p(a) hr() p(b)",
  "```js\nlet x = `1`;\n```\nb": "pre[js](let x = `1`;) p(b)",
  "```\nstill open": "pre[](still open)",
  "| a | b |\n|---|--:|\n| 1 | `2` |": "table(thead(tr(th(a)th(b)))tbody(tr(td(1)td(code(2)))))",
  "[x](https://e.com/a_(b)) https://e.com/?q=1.": "p(a[https://e.com/a_(b)](x) a[https://e.com/?q=1](https://e.com/?q=1).)",
  "![alt](https://e.com/i.png)": "p(a[https://e.com/i.png](alt))",
  "[x](javascript:alert(1)) [y](data:text/html,z)": "p(span(x) span(y))",
  "<script>alert(1)</script> <javascript:x>": "p(<script>alert(1)</script> <javascript:x>)",
};

for (const [text, expected] of Object.entries(cases)) {
  test(`${JSON.stringify(text)} is ${expected}`, () => {
    assert.equal(parse(text).map(short).join(" "), expected);
  });
}

test("the blocks of a text that grows stay the same, but for the last", () => {
  const text = "# A\n\nb *c*\n\n- d\n- e\n\n```\nf\n```\n\ng **h";
  for (let length = 0; length < text.length; length++) {
    const [before, after] = [parse(text.slice(0, length)), parse(text.slice(0, length + 1))];
    const kept = before.slice(0, -1).map(({ source }) => source);
    assert.deepEqual(after.slice(0, kept.length).map(({ source }) => source), kept, `at ${length}`);
  }
});

test("no text takes long to read", () => {
  const gap = " ".repeat(100_000);
  const gaps = [`[a](${gap}x`, `[a](x${gap}y`, `# a${gap}x`, `a|\n---${gap}x`, `\`\`\`${gap}\``, `~~~${"~".repeat(100_000)}\``];
  const hostile = ["[", "![", "*a ", "**a", "_a_*", "`a``", "> ", "- ", "|", "[](", "<https://", "\\", "(", "1. "];
  const made = hostile.flatMap((piece) => [piece.repeat(20_000), `${piece}\n`.repeat(5_000), `[a](${piece.repeat(20_000)}`]);
  for (const text of [...made, ...gaps, "a\n".repeat(200_000)]) {
    const start = performance.now();
    parse(text);
    const took = performance.now() - start;
    assert.ok(took < 3_000, `${JSON.stringify(text.slice(0, 20))} took ${took} ms`);
  }
});
