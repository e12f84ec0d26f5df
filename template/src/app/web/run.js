// One run as it is shown: what happens in it, live, and what of it waits for a decision.

import { ServiceError, call, events } from "./api.js";
import { markdown } from "./markdown.js";
import { announce, element, errorBox, isAtBottom, scrollDown, shown, tokens } from "./page.js";

export const ENDED = ["completed", "failed", "cancelled"];

// Make what is shown of a run that was not begun yet. Of `hooks`, `learn` takes what the service says
// of a run by now, `changed` is called where its status may have, `again` begins another like it.
export function viewOf(said, hooks) {
  const view = {
    hooks,
    run: null,
    status: "queued",
    isLive: true,
    lastId: 0,
    text: "",
    used: { steps: 0, input: 0, output: 0 },
    calls: [],
    cards: new Map(),
    steps: element("ol", { class: "steps", "aria-label": "Steps" }),
    body: element("div", { class: "body" }),
    trouble: element("div"),
    meta: element("p", { class: "meta" }),
    stopping: new AbortController(),
  };
  view.items = [
    element(
      "li",
      { class: "message user", tabindex: "-1" },
      element("span", { class: "unseen" }, "You:"),
      element("div", { class: "body" }, said),
    ),
    element(
      "li",
      { class: "message assistant" },
      element("span", { class: "unseen" }, "Run:"),
      view.steps,
      view.body,
      view.trouble,
      view.meta,
    ),
  ];
  return view;
}

// Take in what the service says of the run by now.
export function inform(view, run) {
  view.run = run;
  // An event may have told of the end meanwhile.
  if (!ENDED.includes(view.status)) view.status = run.status;
  for (const { id, status } of run.approvals) settle(view, id, status);
  draw(view);
}

export function draw(view) {
  const { run, status, used } = view;
  view.meta.replaceChildren(
    [
      run?.agent,
      status === "completed" ? "" : words(status),
      used.steps && (used.steps === 1 ? "1 step" : `${used.steps} steps`),
      used.steps && tokens(used.input, used.output),
    ]
      .filter(Boolean)
      .join(" · "),
  );
  view.hooks.changed();
}

export function fail(view, error, retry) {
  view.trouble.replaceChildren(errorBox(error, retry));
  if (view.isLive) announce(error.message);
}

export function badge(text, kind = "") {
  return element("strong", { class: `badge ${kind}` }, text);
}

export function words(status) {
  return status.replaceAll("_", " ");
}

export function moment(time) {
  const parts = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
  return new Date(time).toLocaleString("en", parts);
}

export function shortened(text, length = 100) {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

// --- What happens in a run ---

const MOST_FAILURES = 8;
const LONG_MS = 5_000;
const LOOK_MS = 100;
const RECONNECT_MS = 500;

// Take in events up to the end; where the connection breaks off, go on behind the last of them.
export async function follow(view) {
  const { signal } = view.stopping;
  view.trouble.replaceChildren();
  for (let failures = 0; ; ) {
    const begun = Date.now();
    try {
      const headers = view.lastId ? { "Last-Event-ID": view.lastId } : {};
      const response = await call(`/v1/runs/${view.run.id}/events`, { headers, signal });
      if (failures) view.trouble.replaceChildren();
      for await (const { id, name, data } of events(response)) {
        const told = JSON.parse(data);
        if (name === "error") throw new ServiceError(told.error.message, told.error);
        failures = 0;
        if (Number(id) <= view.lastId) continue;
        view.lastId = Number(id);
        take(view, name, told);
        if (ENDED.includes(AFTER[name])) return;
      }
      // It may end before the run does, where the service stops, for example.
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      if (signal.aborted) return;
    } catch (error) {
      if (error.name === "AbortError") return;
      // What stands in between may end what takes long, and that is no failure.
      failures = Date.now() - begun > LONG_MS ? 1 : failures + 1;
      if (error.status || failures > MOST_FAILURES) {
        fail(view, error, () => follow(view));
        return;
      }
      const told = `${error.message} Trying again…`;
      view.trouble.replaceChildren(element("p", { class: "hint" }, told));
      await new Promise((resolve) => setTimeout(resolve, Math.min(5_000, 200 * 2 ** failures)));
      if (signal.aborted) return;
    }
  }
}

const AFTER = {
  "approval.requested": "waiting_for_approval",
  "run.completed": "completed",
  "run.failed": "failed",
  "run.cancelled": "cancelled",
};

const SHOW = {
  step: showStep,
  text: showText,
  "tool.call": showCall,
  "tool.result": showResult,
  "approval.requested": showApproval,
  "run.completed": (view, { output }) => {
    view.body.replaceChildren(markdown(output));
    shown(view.run.id, view.items.at(-1));
    if (view.isLive) announce(view.body.textContent);
  },
  "run.failed": (view, { error }) => {
    const { input: said, agent: kind } = view.run;
    fail(view, new ServiceError(error), () => view.hooks.again(said, kind));
  },
  "run.cancelled": (view) => view.isLive && announce("Cancelled."),
};

function take(view, name, told) {
  const follows = view.isLive && view.meta.checkVisibility() && isAtBottom();
  if (!ENDED.includes(view.status)) view.status = AFTER[name] ?? "running";
  SHOW[name]?.(view, told);
  if (ENDED.includes(view.status)) view.calls.forEach(({ details }) => mark(details, "unfinished"));
  draw(view);
  if (follows) scrollDown();
  if (!view.isLive) return;
  // Somebody else may have decided, and the list has to know as well.
  clearTimeout(view.looking);
  view.looking = setTimeout(() => look(view), LOOK_MS);
}

async function look(view) {
  try {
    const { signal } = view.stopping;
    view.hooks.learn(await (await call(`/v1/runs/${view.run.id}`, { signal })).json());
  } catch {
    // What the events say is shown already.
  }
}

// What is told before something else happens is not the answer.
function append(view, ...content) {
  if (view.text) {
    view.steps.append(element("li", {}, element("div", { class: "body" }, markdown(view.text))));
    view.body.replaceChildren();
    view.text = "";
  }
  const item = element("li", {}, ...content);
  view.steps.append(item);
  return item;
}

function showStep(view, told) {
  const { used } = view;
  used.steps += 1;
  used.input += told.input_tokens;
  used.output += told.output_tokens;
  const name = [told.part, `step ${told.step}`].filter(Boolean).join(", ");
  const cost = tokens(told.input_tokens, told.output_tokens);
  append(view, element("p", { class: "meta step" }, `${name} · ${cost}`));
}

function showText(view, { text }) {
  view.text = text;
  view.body.replaceChildren(markdown(text));
}

function showCall(view, { part, call_id: id, tool, arguments: given }) {
  const details = toolDetails(tool, given, "running");
  // Once it is approved, a call is begun a second time.
  const begun = takeCall(view, part, id);
  if (begun) begun.details.replaceWith(details);
  else append(view, details);
  view.calls.push({ part, id, details });
}

function showResult(view, { part, call_id: id, outcome, result }) {
  const begun = takeCall(view, part, id);
  if (!begun) return;
  const { details } = begun;
  mark(details, outcome, outcome === "succeeded" ? "ok" : "invalid");
  details.append(element("h3", {}, "Result"), element("pre", { class: "raw" }, written(result, 2)));
}

// Parts of a research work at once, and each counts its own calls.
function takeCall(view, part, id) {
  const at = view.calls.findIndex((each) => each.id === id && each.part === part);
  return at < 0 ? null : view.calls.splice(at, 1)[0];
}

function mark(details, status, kind) {
  details.querySelector(".badge").replaceWith(badge(status, kind));
}

function toolDetails(tool, given, status, kind) {
  const brief = Object.values(given).map((each) => written(each)).join(", ");
  return element(
    "details",
    {},
    element(
      "summary",
      {},
      element("code", {}, tool),
      " ",
      element("bdi", {}, shortened(brief)),
      " ",
      badge(status, kind),
    ),
    element("h3", {}, "Arguments"),
    argumentsOf(given),
  );
}

// As they are, to the letter: somebody may have to decide on them.
function argumentsOf(given) {
  const found = Object.entries(given).map(([name, value]) => {
    const content = element("dd", { class: "raw" }, written(value, 2));
    return element("div", {}, element("dt", {}, name), content);
  });
  return found.length ? element("dl", {}, found) : element("p", { class: "none" }, "none");
}

function written(value, indent) {
  return typeof value === "string" ? value : JSON.stringify(value, null, indent);
}

// --- Approvals ---

function showApproval(view, told) {
  const { approval_id: id, tool, arguments: given, reason, expires_at: expires } = told;
  const trouble = element("div");
  const button = (text, approved, attributes) => {
    const decideNow = () => decide(view, told, approved);
    const named = element("span", { class: "unseen" }, ` ${tool}`);
    return element("button", { type: "button", onclick: decideNow, ...attributes }, text, named);
  };
  const card = element(
    "div",
    { class: "approval", role: "group", tabindex: "-1", "aria-label": `Approval of ${tool}` },
    element("h3", {}, "May it call ", element("code", {}, tool), "?"),
    element("p", {}, reason),
    argumentsOf(given),
    element(
      "p",
      { class: "meta" },
      "Undecided by ",
      element("time", { datetime: expires }, moment(expires)),
      ", it is denied.",
    ),
    trouble,
    element(
      "div",
      { class: "actions" },
      button("Deny", false, { class: "quiet" }),
      button("Approve", true),
    ),
  );
  view.cards.set(id, { card, trouble, told, item: append(view, card), isWaiting: true });
  const known = view.run.approvals.find((each) => each.id === id);
  settle(view, id, known?.status ?? "waiting");
  if (!view.cards.get(id).isWaiting || !view.isLive) return;
  announce(`${tool} needs your approval. ${reason}`);
  // Not to a button: what somebody is about to type decides nothing.
  if (waitingCard(view) === card && !isTyping()) card.focus();
}

export function waitingCard(view) {
  return [...view.cards.values()].find(({ isWaiting }) => isWaiting)?.card;
}

function isTyping() {
  const held = document.activeElement;
  return held.matches("input, textarea") && held.value;
}

async function decide(view, { approval_id: id, digest, tool }, approved) {
  const { card, trouble } = view.cards.get(id);
  if (card.getAttribute("aria-busy") === "true") return;
  card.setAttribute("aria-busy", true);
  trouble.replaceChildren();
  try {
    const path = `/v1/runs/${view.run.id}/approvals/${id}`;
    view.hooks.learn(await (await call(path, { body: { approved, digest } })).json());
    announce(`${tool} was ${approved ? "approved" : "denied"}.`);
  } catch (error) {
    trouble.replaceChildren(errorBox(error));
    announce(error.message);
    look(view);
  }
  card.setAttribute("aria-busy", false);
}

// Put what was decided in the place of the question.
function settle(view, id, status) {
  const asked = view.cards.get(id);
  const isOver = ENDED.includes(view.status);
  if (!asked?.isWaiting || (status === "waiting" && !isOver)) return;
  const { card, item, told } = asked;
  const held = card.contains(document.activeElement);
  const word = status === "waiting" ? "cancelled" : status;
  asked.isWaiting = false;
  item.replaceChildren(
    toolDetails(told.tool, told.arguments, word, status === "approved" ? "ok" : ""),
  );
  if (held) (waitingCard(view) ?? item.querySelector("summary")).focus();
}
