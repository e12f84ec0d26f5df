// The tab Documents: what the service has read, and answers that cite it.

import { ServiceError, call, events } from "./api.js";
import { announce, element, errorBox, shown, tokens } from "./page.js";

const panel = document.getElementById("documents");
const [file, told, errors, list, empty, more, form, question, result, dialog] = [
  "file", "told", "errors", "list", "empty", "more", "form", "question", "answer", "delete",
].map((id) => document.getElementById(`documents-${id}`));
const [ask, stop] = form.querySelectorAll("button");
const [keep, remove] = dialog.querySelectorAll("button");

// --- The list ---

const PAGE = 50;
const POLL_MS = 700;
const STAGES = ["parse", "split", "embed", "store"];
const KINDS = { ready: "ok", failed: "invalid" };
// By id: what the service said of a document, and its row.
const known = new Map();
let wanted = PAGE;
let latest = 0;
let timer = null;

// Read the list, and again for as long as something in it is unfinished.
async function refresh() {
  const mine = ++latest;
  clearTimeout(timer);
  try {
    const [found, isWhole] = await read();
    if (mine !== latest) return;
    show(found);
    more.hidden = isWhole;
    empty.replaceChildren(found.length ? "" : "There is no document yet.");
    if (found.some(isUnfinished)) timer = setTimeout(refresh, POLL_MS);
  } catch (error) {
    if (mine === latest) empty.replaceChildren(errorBox(error, refresh));
  }
}

async function read() {
  const found = [];
  for (;;) {
    const after = found.length ? `&after=${found.at(-1).id}` : "";
    const { documents } = await (await call(`/v1/documents?limit=${PAGE}${after}`)).json();
    found.push(...documents);
    const isWhole = documents.length < PAGE;
    if (isWhole || found.length >= wanted) return [found, isWhole];
  }
}

// Rows that have not changed are left alone: whatever has the focus there keeps it.
function show(found) {
  const ids = new Set(found.map(({ id }) => id));
  for (const id of known.keys()) if (!ids.has(id)) forget(id);
  found.forEach((now, i) => {
    const { before, row } = known.get(now.id) ?? { row: rowOf(now.id) };
    if (JSON.stringify(before) === JSON.stringify(now)) return;
    known.set(now.id, { before: now, row });
    fill(row, now);
    if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
    if (before && isUnfinished(before) && !isUnfinished(now)) {
      announce(now.error ? `${now.title} failed: ${now.error}` : `${now.title} is ready.`);
    }
  });
}

function rowOf(id) {
  const button = element("button", { type: "button", class: "quiet", onclick: () => doubt(id) });
  return element("li", {}, element("div", {}), button);
}

function fill(row, { title, status, stage, chunks, error }) {
  const [about, button] = row.children;
  const step = STAGES.indexOf(stage) + 1;
  const word = status === "running" && step ? stage : status;
  const detail = {
    running: step ? `step ${step} of ${STAGES.length}` : "",
    ready: chunks === 1 ? "1 passage" : `${chunks.toLocaleString("en")} passages`,
    failed: error,
  };
  about.replaceChildren(
    isolated(title),
    element(
      "p",
      { class: "meta" },
      element("strong", { class: `badge ${KINDS[status] ?? ""}` }, word),
      detail[status] ?? "",
    ),
  );
  button.replaceChildren("Delete", element("span", { class: "unseen" }, ` ${title}`));
}

// Isolated, for letters that run from right to left must not move what is around them.
function isolated(text) {
  return element("bdi", { class: "name" }, text);
}

function isUnfinished({ status }) {
  return status === "queued" || status === "running";
}

function forget(id) {
  known.get(id)?.row.remove();
  known.delete(id);
}

more.addEventListener("click", () => {
  wanted += PAGE;
  refresh();
});

// --- Sending files ---

// One after the other, so that each error stands beside its file.
async function upload(files) {
  errors.replaceChildren();
  for (const each of files) {
    told.replaceChildren("Sending ", isolated(each.name), "…");
    told.replaceChildren(...(await uploadOne(each)));
  }
  if (told.textContent) announce(told.textContent);
}

// Return what there is to say of it.
async function uploadOne(each) {
  const body = new FormData();
  body.append("file", each);
  try {
    const added = await (await call("/v1/documents", { body })).json();
    refresh();
    return [isolated(each.name), isUnfinished(added) ? " was sent." : " is there already."];
  } catch (error) {
    const retry = error.status === 422 ? null : () => upload([each]);
    errors.append(element("div", {}, isolated(each.name), errorBox(error, retry)));
    announce(`${each.name}: ${error.message}`);
    return [];
  }
}

file.addEventListener("change", () => {
  const files = [...file.files];
  // The same file can be chosen again.
  file.value = "";
  upload(files);
});

// Anywhere on the page: where nothing takes a file, the browser opens it instead of the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const isFile = !panel.hidden && event.dataTransfer.types.includes("Files");
    panel.classList.toggle("dropping", isFile && kind === "dragover");
    if (isFile) event.preventDefault();
    if (isFile && kind === "drop") take(event.dataTransfer);
  });
}

function take({ items }) {
  const all = [...items].filter(({ kind }) => kind === "file");
  const folders = all.filter((item) => item.webkitGetAsEntry()?.isDirectory);
  upload(all.filter((item) => !folders.includes(item)).map((item) => item.getAsFile()));
  if (!folders.length) return;
  const error = new ServiceError("A folder cannot be sent: drop the files that are in it.");
  errors.append(errorBox(error));
  announce(error.message);
}

// --- Deleting ---

let doubted = null;

function doubt(id) {
  doubted = id;
  const title = isolated(known.get(id).before.title);
  dialog.querySelector("p").replaceChildren(title, " and all that was read in it will be gone.");
  dialog.showModal();
}

keep.addEventListener("click", () => dialog.close());
remove.addEventListener("click", async () => {
  dialog.close();
  const id = doubted;
  const { row, before } = known.get(id) ?? {};
  if (!row) return;
  try {
    await call(`/v1/documents/${id}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) {
      errors.replaceChildren(isolated(before.title), errorBox(error));
      announce(error.message);
      return;
    }
    // Somebody else was faster.
  }
  const next = row.nextElementSibling ?? row.previousElementSibling;
  if (row.contains(document.activeElement)) (next?.querySelector("button") ?? file).focus();
  forget(id);
  announce(`${before.title} was deleted.`);
  refresh();
});

// --- Answers ---

let running = null;

async function reply(asked) {
  const text = element("p", { class: "raw" });
  running = new AbortController();
  setBusy(true);
  result.replaceChildren(element("p", { class: "empty" }, "Searching…"));
  try {
    const [answer, passages] = await stream(asked, text, running.signal);
    result.replaceChildren(...whole(answer, passages));
    shown(answer.id, result);
    const partly = answer.unsupported.length && !answer.abstained ? " A part has no source." : "";
    announce(`${answer.answer}${partly} ${answer.detail ?? ""}`);
  } catch (error) {
    const stopped = error.name === "AbortError";
    const note = element("p", { class: "meta" }, "Stopped. What is missing was not checked.");
    result.replaceChildren(text, stopped ? note : errorBox(error, () => running || reply(asked)));
    announce(stopped ? "Stopped." : error.message);
  }
  running = null;
  setBusy(false);
}

// Show the answer in `text` as it comes; return the whole, and the passages it may cite by id.
async function stream(asked, text, signal) {
  const response = await call("/v1/answers", { body: { question: asked, stream: true }, signal });
  const passages = new Map();
  for await (const { name, data } of events(response)) {
    const told = JSON.parse(data);
    if (name === "error") throw new ServiceError(told.error.message, told.error);
    if (name === "done") return [told, passages];
    if (name === "sources") told.sources.forEach((each) => passages.set(each.chunk_id, each));
    if (name === "delta") {
      text.append(told.text);
      if (!text.isConnected) result.replaceChildren(text);
    }
  }
}

function whole({ answer, model, usage, detail, abstained, citations, unsupported }, passages) {
  const note = detail ? element("p", { class: "hint" }, detail) : "";
  const used = tokens(usage.input_tokens, usage.output_tokens);
  const meta = element("p", { class: "meta" }, `${model} · ${used}`);
  if (abstained) {
    const badge = element("strong", { class: "badge truncated" }, "no answer");
    const said = unsupported.length
      ? disclosure("What the model said all the same", listOf(unsupported))
      : "";
    return [element("p", {}, badge, answer), note, said, meta];
  }
  const sources = citations.map((each, i) => source(each, i + 1, passages.get(each.chunk_id)));
  const [nodes, rest] = marked(answer, unsupported, sources);
  return [
    element("p", { class: "raw" }, nodes),
    rest.length ? listOf(rest) : "",
    note,
    element("h3", {}, "Sources"),
    ...sources,
    meta,
  ];
}

function listOf(sentences) {
  return element("ul", {}, sentences.map((each) => element("li", {}, each, " ", noSource())));
}

function noSource() {
  return element("strong", { class: "badge invalid" }, "no source");
}

function disclosure(title, ...content) {
  return element("details", {}, element("summary", {}, title), ...content);
}

// The passage that is cited, with the words that are.
function source({ title, quote }, number, passage) {
  const text = passage?.text ?? quote;
  const start = Math.max(0, text.indexOf(quote));
  const end = start + quote.length;
  const headings = (passage?.headings ?? []).flatMap((each) => [" › ", isolated(each)]);
  return disclosure(
    element("span", {}, `[${number}] `, isolated(title), headings),
    element(
      "blockquote",
      { class: "raw" },
      text.slice(0, start),
      element("span", { class: "unseen" }, " What is cited begins. "),
      element("mark", {}, text.slice(start, end)),
      element("span", { class: "unseen" }, " What is cited ends. "),
      text.slice(end),
    ),
  );
}

// The answer with a button for each [n] and a word behind each sentence that nothing supports; and
// the sentences that do not stand in it as they were listed.
function marked(answer, unsupported, sources) {
  const nodes = [];
  const rest = [];
  let at = 0;
  for (const sentence of unsupported) {
    const start = find(sentence, answer, at);
    if (start < 0) {
      rest.push(sentence);
      continue;
    }
    nodes.push(...linked(answer, at, start, sources), sentence, " ", noSource());
    at = start + sentence.length;
  }
  return [[...nodes, ...linked(answer, at, answer.length, sources)], rest];
}

// The same words may stand there before, with a source or within others.
function find(sentence, answer, from) {
  const words = sentence.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const alone = new RegExp(`(?<![\\p{L}\\p{N}])${words}(?![\\p{L}\\p{N}]|\\s*\\[\\d)`, "gu");
  alone.lastIndex = from;
  return alone.exec(answer)?.index ?? -1;
}

// In code [n] is no mark of the service.
function linked(answer, from, to, sources) {
  const nodes = [];
  let at = from;
  for (const { 0: mark, 1: number, index } of answer.slice(from, to).matchAll(/\[(\d{1,4})\]/g)) {
    const start = from + index;
    const target = sources[number - 1];
    if (!target || answer.slice(0, start).split("`").length % 2 === 0) continue;
    nodes.push(answer.slice(at, start), opener(mark, target));
    at = start + mark.length;
  }
  return [...nodes, answer.slice(at, to)];
}

function opener(mark, target) {
  const [summary] = target.children;
  const open = () => {
    target.open = true;
    summary.focus();
    target.querySelector("mark").scrollIntoView({ block: "nearest" });
  };
  const label = `Source ${summary.textContent}`;
  return element("button", { type: "button", class: "mark", "aria-label": label, onclick: open }, mark);
}

function setBusy(busy) {
  const held = form.contains(document.activeElement);
  result.setAttribute("aria-busy", busy);
  [ask.hidden, stop.hidden] = [busy, !busy];
  // A button that vanishes takes the focus with it.
  if (held) question.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = question.value.trim();
  if (asked && !running) reply(asked);
});

// They take each other's place: a double click on one is no click on the other.
ask.addEventListener("click", (event) => event.detail > 1 && event.preventDefault());
stop.addEventListener("click", (event) => event.detail > 1 || running?.abort());

document.addEventListener("newkey", () => {
  // What is shown belongs to whoever had the key before.
  [...known.keys()].forEach(forget);
  result.replaceChildren();
  errors.replaceChildren();
  refresh();
});
refresh();
