// The tab Agent: conversations of runs, and those of before to open again.

import { call } from "./api.js";
import { element, errorBox, scrollDown } from "./page.js";
import {
  ENDED, badge, draw, fail, follow, inform, moment, shortened, viewOf, waitingCard, words,
} from "./run.js";

const panel = document.getElementById("runs");
const [earlier, none, list, more, agent, fresh, thread, empty, form, input, start, cancel] = [
  "earlier", "none", "list", "more", "agent", "new",
  "thread", "empty", "form", "text", "start", "cancel",
].map((id) => document.getElementById(`runs-${id}`));
const STORED = "run-conversation";

// What the service said of the newest runs, and what is shown of this conversation.
let runs = [];
let shown = [];
let conversation = kept();

function kept() {
  try {
    return sessionStorage.getItem(STORED) ?? unique();
  } catch {
    return unique();
  }
}

function keep(name) {
  conversation = name;
  try {
    sessionStorage.setItem(STORED, name);
  } catch {
    // Without storage a page that is loaded again begins another conversation.
  }
}

// As randomUUID, which a page has only over HTTPS or from its own machine.
function unique() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  return bytes.map((each) => each.toString(16).padStart(2, "0")).join("");
}

// --- The list ---

const PAGE = 20;
const POLL_MS = 3_000;
const KINDS = { completed: "ok", failed: "invalid", waiting_for_approval: "truncated" };
const rows = new Map();
let wanted = PAGE;
let latest = 0;
let timer = null;

// Read the list, and again for as long as somebody works on a run that is not shown.
async function refresh() {
  const mine = ++latest;
  clearTimeout(timer);
  try {
    const [found, isWhole] = await read();
    if (mine !== latest) return;
    runs = found.map(newest);
    more.hidden = isWhole;
    none.replaceChildren(found.length ? "" : "There is no run yet.");
    showList();
    const isWorkedOn = ({ id, status }) => isWorking(status) && !shownAs(id);
    if (found.some(isWorkedOn)) timer = setTimeout(refresh, POLL_MS);
  } catch (error) {
    if (mine !== latest) return;
    none.replaceChildren(errorBox(error, refreshAll));
    earlier.open = true;
  }
}

// A list that was on its way is older than an end that was told meanwhile.
function newest(run) {
  const now = shownAs(run.id)?.run;
  return now && ENDED.includes(now.status) ? now : run;
}

async function read() {
  const found = [];
  for (;;) {
    const after = found.length ? `&after=${found.at(-1).id}` : "";
    const page = (await (await call(`/v1/runs?limit=${PAGE}${after}`)).json()).runs;
    found.push(...page);
    const isWhole = page.length < PAGE;
    if (isWhole || found.length >= wanted) return [found, isWhole];
  }
}

// Rows stay where they are: whatever has the focus there keeps it.
function showList() {
  const ids = new Set(runs.map(({ id }) => id));
  for (const [id, row] of rows) if (!ids.has(id) && rows.delete(id)) row.remove();
  runs.forEach((run, i) => {
    if (!rows.has(run.id)) rows.set(run.id, element("li", {}, rowButton(run)));
    const row = rows.get(run.id);
    fill(row.firstChild, run);
    if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
  });
  const waiting = runs.filter(({ status }) => status === "waiting_for_approval").length;
  const note = waiting ? [" ", badge(`${waiting} waiting`, "truncated")] : [];
  earlier.querySelector("summary").replaceChildren("Your runs", ...note);
}

function rowButton({ id }) {
  const choose = () => open(runs.find((run) => run.id === id));
  return element("button", { type: "button", class: "row", onclick: choose });
}

function fill(button, { id, input: said, status, created_at: created }) {
  const begun = element("time", { datetime: created }, moment(created));
  button.setAttribute("aria-current", Boolean(shownAs(id)));
  button.replaceChildren(
    element("bdi", { class: "name" }, shortened(said)),
    element("span", { class: "meta" }, badge(words(status), KINDS[status]), " ", begun),
  );
}

function isWorking(status) {
  return status === "queued" || status === "running";
}

function shownAs(id) {
  return shown.find(({ run }) => run?.id === id);
}

// Take in what the service says of a run by now.
function learn(run) {
  const at = runs.findIndex(({ id }) => id === run.id);
  if (at < 0) runs.unshift(run);
  else runs[at] = run;
  none.replaceChildren();
  const view = shownAs(run.id);
  if (view) inform(view, run);
  showList();
}

more.addEventListener("click", () => {
  wanted += PAGE;
  refresh();
});

// --- The conversation ---

// Show the conversation of a run, and lead whoever chose it there.
function open(run) {
  if (!shownAs(run.id)) {
    clear();
    keep(run.conversation_id ?? unique());
    showRuns(run.conversation_id ? inConversation() : [run]);
    refresh();
  }
  if (!isWide.matches) earlier.open = false;
  const view = shownAs(run.id);
  (waitingCard(view) ?? view.items[0]).focus();
}

function inConversation() {
  return runs.filter((run) => run.conversation_id === conversation).reverse();
}

function showRuns(found) {
  for (const run of found) {
    const view = add(run.input);
    Object.assign(view, { run, status: run.status, isLive: !ENDED.includes(run.status) });
    draw(view);
    follow(view);
  }
  showList();
}

function clear() {
  shown.forEach(({ stopping }) => stopping.abort());
  shown = [];
  thread.replaceChildren();
  setBusy();
}

function add(said) {
  const again = (...like) => start.hidden || begin(...like);
  const view = viewOf(said, { learn, changed: setBusy, again });
  shown.push(view);
  thread.append(...view.items);
  return view;
}

function setBusy() {
  const status = shown.at(-1)?.status ?? "";
  const isOpen = isWorking(status) || status === "waiting_for_approval";
  const held = document.activeElement === (isOpen ? start : cancel);
  thread.setAttribute("aria-busy", isWorking(status));
  [start.hidden, cancel.hidden] = [isOpen, !isOpen];
  empty.hidden = shown.length > 0;
  // A button that vanishes takes the focus with it.
  if (held) input.focus();
}

// --- Beginning and ending a run ---

function begin(said, kind) {
  // What is not of this conversation is nothing that the run knows of.
  if (shown.some(({ run }) => run && run.conversation_id !== conversation)) clear();
  keep(conversation);
  const view = add(said);
  post(view, { input: said, agent: kind, conversation_id: conversation }, unique());
  scrollDown();
}

// With the same key however often it is tried: it is begun once.
async function post(view, body, key) {
  view.trouble.replaceChildren();
  view.status = "queued";
  draw(view);
  try {
    const headers = { "Idempotency-Key": key };
    view.begun = call("/v1/runs", { body, headers }).then((response) => response.json());
    const run = await view.begun;
    // Another conversation may have begun in the meantime.
    if (shown.includes(view)) view.run = run;
    learn(run);
    if (view.run) follow(view);
  } catch (error) {
    view.status = "";
    draw(view);
    fail(view, error, () => post(view, body, key));
  }
}

async function stop(view) {
  try {
    const { id } = view.run ?? (await view.begun);
    learn(await (await call(`/v1/runs/${id}/cancel`, { method: "POST" })).json());
  } catch (error) {
    // One that was not begun has its error already.
    if (view.run) fail(view, error);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const said = input.value.trim();
  if (!said || start.hidden) return;
  input.value = "";
  begin(said, agent.value);
});

input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

// They take each other's place: a double click on one is no click on the other.
start.addEventListener("click", (event) => event.detail > 1 && event.preventDefault());
cancel.addEventListener("click", (event) => event.detail > 1 || stop(shown.at(-1)));

fresh.addEventListener("click", () => {
  clear();
  keep(unique());
  refresh();
  input.focus();
});

empty.querySelector("button").addEventListener("click", ({ target }) => {
  input.value = target.textContent;
  input.focus();
});

// --- The beginning ---

const isWide = matchMedia("(min-width: 56rem)");
earlier.open = isWide.matches;

// The list, and this tab's conversation out of it.
async function refreshAll() {
  await refresh();
  if (!shown.length) showRuns(inConversation());
}

document.addEventListener("newkey", () => {
  // What is shown belongs to whoever had the key before, but for what is only being sent.
  const sent = shown.filter(({ run }) => !run);
  shown = shown.filter(({ run }) => run);
  runs = [];
  clear();
  shown = sent;
  thread.append(...sent.flatMap(({ items }) => items));
  setBusy();
  showList();
  refreshAll();
});
refreshAll();
