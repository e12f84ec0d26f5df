// The tab Chat: a conversation that lives in this tab of the browser, and answers that stream.

import { ServiceError, call, events } from "./api.js";
import { markdown } from "./markdown.js";
import { announce, element, errorBox, isAtBottom, scrollDown, shown, tokens } from "./page.js";

const STORED = "conversation";
const [models, list, empty, unkept, form, input, send, stop] = [
  "model", "messages", "chat-empty", "chat-unkept",
  "chat-form", "chat-text", "chat-send", "chat-stop",
].map((id) => document.getElementById(id));

// {role, content}, and for an answer: model, usage, note, error, and the id of a whole one.
let messages = load();
let running = null;

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED)) ?? [];
  } catch {
    return [];
  }
}

function save() {
  try {
    sessionStorage.setItem(STORED, JSON.stringify(messages));
    unkept.hidden = true;
  } catch {
    // It is longer than a browser keeps: this tab goes on with what it has in memory.
    unkept.hidden = false;
  }
}

function show() {
  list.replaceChildren(...messages.map((message, i) => render(message, i === messages.length - 1)));
  empty.hidden = messages.length > 0;
}

function render(message, isLast) {
  const mine = message.role === "user";
  const body = element("div", { class: "body" }, mine ? message.content : markdown(message.content));
  const item = element(
    "li",
    { class: `message ${message.role}` },
    element("span", { class: "unseen" }, mine ? "You:" : "Answer:"),
    body,
    message.error ? errorBox(message.error, isLast && !running ? retry : null) : "",
    element("p", { class: "meta" }, metaOf(message)),
  );
  if (message.id) shown(message.id, item);
  return item;
}

function metaOf({ model, usage, note }) {
  const used = usage && tokens(usage.prompt_tokens, usage.completion_tokens);
  return [note, model, used].filter(Boolean).join(" · ");
}

async function ask(text) {
  if (text) messages.push({ role: "user", content: text });
  const answer = { role: "assistant", content: "" };
  const asked = toSend();
  messages.push(answer);
  running = new AbortController();
  const { signal } = running;
  setBusy(true);
  try {
    show();
    scrollDown();
    await stream(asked, answer, signal);
  } catch (error) {
    if (error.name === "AbortError") answer.note = "stopped";
    else answer.error = plain(error);
  }
  // A new conversation may have begun in the meantime.
  if (running?.signal !== signal) return;
  const follow = isAtBottom();
  end();
  if (follow) scrollDown();
  announce(answer.error?.message ?? list.lastElementChild.querySelector(".body").textContent);
}

// A question that got nothing but an error stays out: too long, it would fail each later one too.
function toSend() {
  const failed = (message) => message?.error && !message.content;
  return messages
    .filter((each, i) => each.content && !each.error && !failed(messages[i + 1]))
    .map(({ role, content }) => ({ role, content }));
}

// Nothing is on its way any more.
function end() {
  running?.abort();
  running = null;
  setBusy(false);
  save();
  show();
}

async function stream(asked, answer, signal) {
  const body = { messages: asked, stream: true, stream_options: { include_usage: true } };
  if (models.value) body.model = models.value;
  const response = await call("/v1/chat/completions", { body, signal });
  const draw = drawer(answer);
  let id = "";
  // Without [DONE] the answer is not whole.
  for await (const { data } of events(response)) {
    if (data === "[DONE]") {
      answer.id = id;
      return;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServiceError(chunk.error.message, chunk.error);
    const [choice] = chunk.choices;
    answer.content += choice?.delta.content ?? choice?.delta.refusal ?? "";
    id = chunk.id;
    answer.model = chunk.model;
    answer.usage = chunk.usage ?? answer.usage;
    answer.note = NOTES[choice?.finish_reason] ?? answer.note;
    draw();
  }
}

const NOTES = { length: "cut off at the token limit", content_filter: "refused" };

// Draw what has arrived once a frame, however many tokens that is.
function drawer(answer) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (!running || messages.at(-1) !== answer) return;
      const follow = isAtBottom();
      list.lastElementChild.querySelector(".body").replaceChildren(markdown(answer.content));
      if (follow) scrollDown();
    });
  };
}

// An error as storage keeps it.
function plain({ message, status, code, retryAfter }) {
  return { message, status, code, retryAfter };
}

function setBusy(busy) {
  const held = form.contains(document.activeElement);
  list.setAttribute("aria-busy", busy);
  [send.hidden, stop.hidden] = [busy, !busy];
  // A button that vanishes takes the focus with it.
  if (held) input.focus();
}

function retry() {
  messages.pop();
  ask();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text || running) return;
  input.value = "";
  ask(text);
});

input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

// They take each other's place: a double click on one is no click on the other.
send.addEventListener("click", (event) => event.detail > 1 && event.preventDefault());
stop.addEventListener("click", (event) => event.detail > 1 || running?.abort());

document.getElementById("chat-new").addEventListener("click", () => {
  messages = [];
  end();
  input.focus();
});

// A page that is left or loaded again in the middle of an answer keeps what has arrived.
window.addEventListener("pagehide", () => {
  if (!running) return;
  messages.at(-1).note = "stopped";
  end();
});

async function listModels() {
  const invitation = "Ask something, and watch the answer arrive.";
  try {
    const { data } = await (await call("/v1/models")).json();
    models.replaceChildren(...data.map(({ id }) => element("option", { value: id }, id)));
    empty.replaceChildren(invitation);
  } catch (error) {
    empty.replaceChildren(errorBox(error, listModels));
  }
}

document.addEventListener("newkey", listModels);
show();
listModels();
