// What Extract and Classify share: a text goes out, an answer with an outcome comes back.

import { call } from "./api.js";
import { announce, element, errorBox, tokens } from "./page.js";

const OUTCOMES = {
  ok: "It worked.",
  truncated: "The answer was cut off.",
  refused: "The model refused.",
  invalid: "The answer did not fit.",
};

const OFFLINE = "No AI read this: the offline model goes by names and words.";

// Let the form of `panel` POST its text to `path`, and show what `render` makes of the answer.
export function task(panel, path, render) {
  const form = panel.querySelector("form");
  const button = form.querySelector("[type=submit]");
  const result = panel.querySelector(".result");
  let busy = false;

  const setBusy = (now) => {
    busy = now;
    // Not `disabled`, which would take the focus away.
    button.setAttribute("aria-disabled", now);
    result.setAttribute("aria-busy", now);
  };

  const run = async () => {
    if (busy) return;
    setBusy(true);
    result.replaceChildren(element("p", { class: "empty" }, "Working…"));
    try {
      const answer = await (await call(path, { body: { text: form.elements.text.value } })).json();
      result.replaceChildren(...outcomeOf(answer), ...render(answer), ...detailsOf(answer));
      announce(`Outcome: ${answer.outcome}. ${answer.detail ?? ""}`);
    } catch (error) {
      result.replaceChildren(errorBox(error, run));
      announce(error.message);
    }
    setBusy(false);
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
}

function outcomeOf({ outcome, detail }) {
  const badge = element("strong", { class: `badge ${outcome}` }, outcome);
  return [element("p", { class: "outcome" }, badge, " ", detail ?? OUTCOMES[outcome] ?? "")];
}

function detailsOf(answer) {
  const { model, usage } = answer;
  const cost = usage.cost_usd === null ? "cost unknown" : `$${usage.cost_usd}`;
  const used = `${model} · ${tokens(usage.input_tokens, usage.output_tokens)} · ${cost}`;
  const raw = element("pre", { class: "raw" }, JSON.stringify(answer, null, 2));
  return [
    element("p", { class: "meta" }, used),
    model === "offline" ? element("p", { class: "hint" }, OFFLINE) : "",
    element("details", {}, element("summary", {}, "The whole answer as JSON"), raw),
  ];
}

// Show any JSON value: objects as a list of names and values, lists of objects as a table.
export function valueOf(value) {
  if (value === null || value === "") return element("span", { class: "none" }, "not given");
  if (Array.isArray(value)) return listOf(value);
  if (typeof value === "object") return fieldsOf(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

function fieldsOf(fields) {
  const rows = Object.entries(fields).map(([name, value]) =>
    element("div", {}, element("dt", {}, words(name)), element("dd", {}, valueOf(value))),
  );
  return element("dl", {}, rows);
}

function listOf(values) {
  if (!values.length) return element("span", { class: "none" }, "none");
  const isRow = (each) =>
    each && typeof each === "object" && Object.values(each).every((cell) => Object(cell) !== cell);
  if (!values.every(isRow)) {
    return element("ul", {}, values.map((each) => element("li", {}, valueOf(each))));
  }
  const names = [...new Set(values.flatMap(Object.keys))];
  const head = names.map((name) => element("th", { scope: "col" }, words(name)));
  const body = values.map((row) =>
    element("tr", {}, names.map((name) => element("td", {}, valueOf(row[name] ?? null)))),
  );
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, head)),
    element("tbody", {}, body),
  );
  const scrolls = { class: "scrolls", tabindex: "0", role: "group", "aria-label": "Table" };
  return element("div", scrolls, table);
}

function words(name) {
  const spaced = name.replaceAll("_", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
