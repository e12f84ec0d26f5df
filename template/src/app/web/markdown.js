// Markdown to elements. It makes nodes and text, never HTML from a string: what a model writes can
// neither run nor load anything. What is not understood stays as it was written.

import { element } from "./page.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/s;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+)(.*)$/s;
const DELIMITERS = /^(?=.*\|)\|?\s*:?-+:?(?:\s*\|\s*:?-+:?)*\s*\|?$/;
// Beyond this quotes and lists stay text: a text can nest deeper than a stack is high.
const DEEPEST = 8;

export function markdown(text) {
  const first = /^ {0,3}(#{1,6})\s/m.exec(text)?.[1].length ?? 1;
  return blocks(text.split(/\r?\n/), first, 0);
}

function blocks(lines, first, depth) {
  const made = document.createDocumentFragment();
  let at = 0;
  // Take lines for as long as they belong.
  const take = (belongs) => {
    const from = at;
    while (at < lines.length && belongs(lines[at], at - from)) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    const item = depth < DEEPEST && ITEM.exec(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      at += 1;
      const code = take((each) => !(each.trim().startsWith(fence[1]) && /^\s*[`~]+\s*$/.test(each)));
      at += 1;
      made.append(codeBlock(code.join("\n"), fence[2]));
    } else if (heading) {
      at += 1;
      // The page has levels 1 and 2.
      const level = Math.min(6, Math.max(3, 3 + heading[1].length - first));
      made.append(element(`h${level}`, {}, inline(heading[2].trimEnd().replace(/ #+$/, ""))));
    } else if (RULE.test(line)) {
      at += 1;
      made.append(element("hr"));
    } else if (QUOTE.test(line) && depth < DEEPEST) {
      const quoted = take((each) => QUOTE.test(each)).map((each) => each.replace(QUOTE, ""));
      made.append(element("blockquote", {}, blocks(quoted, first, depth + 1)));
    } else if (item) {
      made.append(listOf(take, item, first, depth));
    } else if (line.includes("|") && DELIMITERS.test((lines[at + 1] ?? "").trim())) {
      made.append(tableOf(take((each) => each.includes("|"))));
    } else {
      const paragraph = take((each, i) => i === 0 || !beginsAnother(each));
      made.append(element("p", {}, inline(paragraph.map((each) => each.trim()).join("\n"))));
    }
  }
  return made;
}

function beginsAnother(line) {
  return !line.trim() || [FENCE, HEADING, RULE, QUOTE, ITEM].some((begin) => begin.test(line));
}

function codeBlock(code, language) {
  const name = language ? `Code, ${language}` : "Code";
  // It scrolls sideways, so the keyboard has to reach it.
  const attributes = { tabindex: "0", role: "group", "aria-label": name };
  return element("pre", attributes, element("code", {}, code));
}

function listOf(take, first, firstDepth, depth) {
  const ordered = /\d/.test(first[2]);
  const list = element(ordered ? "ol" : "ul", ordered ? { start: parseInt(first[2], 10) } : {});
  for (;;) {
    let begun = null;
    let indent = 0;
    const lines = take((line, i) => {
      const item = ITEM.exec(line);
      if (i === 0) {
        if (!item || /\d/.test(item[2]) !== ordered || RULE.test(line)) return false;
        begun = item;
        indent = item[1].length + item[2].length + 1;
        return true;
      }
      return !line.trim() || indentOf(line) >= Math.min(2, indent);
    });
    if (!begun) return list;
    const inner = [begun[4], ...lines.slice(1).map((line) => unindented(line, indent))];
    list.append(element("li", {}, itemContent(inner, firstDepth, depth)));
  }
}

function indentOf(line) {
  return line.length - line.trimStart().length;
}

function unindented(line, width) {
  return line.slice(Math.min(width, indentOf(line)));
}

// A tight item is its text, without a paragraph around it.
function itemContent(lines, first, depth) {
  const content = [...blocks(lines, first, depth + 1).childNodes];
  const [head, ...rest] = content;
  return head?.tagName === "P" ? [...head.childNodes, ...rest] : content;
}

function tableOf(lines) {
  const cells = (line) =>
    line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
  const row = (tag) => (line) =>
    element("tr", {}, cells(line).map((cell) => element(tag, {}, inline(cell))));
  const [head, , ...body] = lines;
  const table = element(
    "table",
    {},
    element("thead", {}, row("th")(head)),
    element("tbody", {}, body.map(row("td"))),
  );
  return element("div", { class: "scrolls", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}

// Escapes, code, bold, italic, struck, links, bare addresses and line breaks, in this order.
const INLINE = new RegExp(
  [
    /\\([!-/:-@[-`{-~])/,
    /(?<!`)(`+)(?!`)(.{0,1000}?[^`])\2(?!`)/,
    /\*\*(?=\S)(.{0,1000}?\S)\*\*(?!\*)|(?<!\w)__(?=\S)(.{0,1000}?\S)__(?!\w)/,
    /\*(?=[^\s*])(.{0,1000}?[^\s*])\*(?!\*)|(?<!\w)_(?=[^\s_])(.{0,1000}?[^\s_])_(?!\w)/,
    /~~(?=\S)(.{0,1000}?\S)~~/,
    /!?\[([^[\]]{1,500})\]\(\s*<?([^\s()<>]{1,2000}(?:\([^\s()]{0,500}\)[^\s()<>]{0,500})?)>?(?:\s+"[^"]{0,500}")?\s*\)/,
    /(?<!\w)(https?:\/\/[^\s<>"`]{1,2000}[^\s<>"`.,;:!?)\]}'*_])/,
    /(\n)/,
  ]
    .map((part) => part.source)
    .join("|"),
  "gs",
);

function inline(text, depth = 0) {
  if (depth > DEEPEST) return [text];
  const made = [];
  let last = 0;
  const within = (tag, content) => element(tag, {}, inline(content, depth + 1));
  for (const found of text.matchAll(INLINE)) {
    const [whole, escaped, , code, bold, bold2, italic, italic2, struck, label, target, bare] = found;
    made.push(text.slice(last, found.index));
    last = found.index + whole.length;
    if (escaped) made.push(escaped);
    else if (code) made.push(element("code", {}, code.replaceAll("\n", " ")));
    else if (bold ?? bold2) made.push(within("strong", bold ?? bold2));
    else if (italic ?? italic2) made.push(within("em", italic ?? italic2));
    else if (struck) made.push(within("s", struck));
    else if (label) made.push(...link(target, inline(label, depth + 1), whole));
    else if (bare) made.push(...link(bare, [bare], bare));
    else made.push(element("br"));
  }
  return [...made, text.slice(last)].filter((node) => node !== "");
}

// Only to the web: an address that could run something stays text.
function link(target, content, written) {
  if (!/^https?:\/\//i.test(target) || !URL.canParse(target)) return [written];
  const attributes = { href: target, target: "_blank", rel: "noopener noreferrer" };
  return [element("a", attributes, content)];
}
