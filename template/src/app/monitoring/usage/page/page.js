// What was used and what it cost: asked of /v1/usage, drawn, and listed.

import { stackedBars } from "./chart.js";

// So many groups have a colour; the others are one.
const COLOURS = 5;
const DAY_MS = 86_400_000;
const MEASURES = { cost_usd: "Cost", calls: "Calls", input_tokens: "Input tokens", output_tokens: "Output tokens" };
const COUNTED = ["calls", "input_tokens", "cache_read_tokens", "output_tokens"];

const $ = (id) => document.getElementById(id);
const choice = $("choice");
const main = document.querySelector("main");
let shown = null;
let asked = 0;

// --- What is asked ---

async function load() {
  const turn = ++asked;
  const { days: count, group } = Object.fromEntries(new FormData(choice));
  const days = lastDays(Number(count));
  main.setAttribute("aria-busy", "true");
  try {
    const query = new URLSearchParams([["from", days[0]], ["group_by", "day"], ["group_by", group]]);
    const usage = await get(`/v1/usage?${query}`);
    if (turn !== asked) return;
    shown = { usage, days, group };
    $("status").textContent = usage.rows.length ? "" : "No model was asked in these days.";
    show();
  } catch (error) {
    if (turn !== asked) return;
    $("shown").hidden = true;
    $("status").textContent = error.message;
  } finally {
    if (turn === asked) main.removeAttribute("aria-busy");
  }
}

function lastDays(count) {
  return Array.from({ length: count }, (_, i) =>
    new Date(Date.now() - (count - 1 - i) * DAY_MS).toISOString().slice(0, 10));
}

// --- What is shown ---

function show() {
  const { usage, days, group } = shown;
  const measure = new FormData(choice).get("measure");
  const groups = grouped(usage.rows, group, days, measure);
  const format = formatOf(measure);
  $("shown").hidden = !usage.rows.length;
  $("unpriced").hidden = !usage.unpriced_calls;
  $("unpriced").textContent = `The price of ${counted(usage.unpriced_calls)} of these calls is not known: they are in no cost.`;

  const all = summed(usage.rows);
  $("estimated").hidden = !all.estimated_calls;
  $("estimated").textContent = `Of ${counted(all.estimated_calls)} calls nobody reported what they took, because they broke off: that is estimated.`;
  $("totals").replaceChildren(
    ...Object.entries(MEASURES).map(([name, title]) =>
      element("div", {}, element("dt", {}, title), element("dd", {}, formatOf(name)(all[name])))),
  );

  const title = `${MEASURES[measure]} a day, by ${group}`;
  const series = stacked(groups, days.length);
  const top = groups.length ? `. Most: ${groups[0].name}, ${format(groups[0].sum[measure])}.` : ".";
  $("chart-title").textContent = title;
  $("chart").replaceChildren(
    stackedBars(days, series, { width: $("chart").clientWidth || 900, format, dayOf, summary: title + top }),
  );
  $("legend").replaceChildren(
    ...series.map(({ name }, i) => element("li", {}, element("span", { class: `series-${i}` }), name)),
  );

  $("groups-title").textContent = `All of it, by ${group}`;
  $("groups").replaceChildren(
    table(group, groups.map(({ name, sum }) => [name, sum]), all),
  );
  const byDay = days.map((day) => [dayOf(day), summed(usage.rows.filter((row) => row.day === day))]);
  $("days").replaceChildren(table("day", byDay.reverse(), all));
}

// Return {name, sum, values}, a value a day, of each group; the one with the most first.
function grouped(rows, group, days, measure) {
  const byName = Map.groupBy(rows, (row) => nameOf(row, group));
  return [...byName]
    .map(([name, own]) => ({
      name,
      sum: summed(own),
      values: days.map((day) => summed(own.filter((row) => row.day === day))[measure]),
    }))
    .sort((a, b) => b.sum[measure] - a.sum[measure] || a.name.localeCompare(b.name));
}

function nameOf(row, group) {
  const name = row[group] ?? "(none)";
  return group === "prompt" && row.prompt ? `${name}/${row.prompt_version}` : name;
}

function stacked(groups, length) {
  const rest = groups.slice(COLOURS);
  const others = Array.from({ length }, (_, i) => rest.reduce((sum, { values }) => sum + values[i], 0));
  return [...groups.slice(0, COLOURS), ...(rest.length ? [{ name: `${rest.length} others`, values: others }] : [])];
}

function summed(rows) {
  const names = [...COUNTED, "cost_usd", "unpriced_calls"];
  const sum = (valueOf) => rows.reduce((sum, row) => sum + (valueOf(row) ?? 0), 0);
  return {
    ...Object.fromEntries(names.map((name) => [name, sum((row) => row[name])])),
    estimated_calls: sum((row) => row.estimated.calls),
  };
}

function table(first, rows, all) {
  const titles = ["Calls", "Input tokens", "of them cached", "Output tokens", "Cost", "Price not known"];
  const cells = (sum) =>
    [...COUNTED.map((name) => counted(sum[name])), dollars(sum.cost_usd), counted(sum.unpriced_calls)]
      .map((text) => element("td", {}, text));
  const line = ([name, sum]) => element("tr", {}, element("th", { scope: "row" }, name), ...cells(sum));
  const heads = [first, ...titles].map((text) => element("th", { scope: "col" }, text));
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map(line)),
    element("tfoot", {}, line(["all", all])),
  );
}

const formatOf = (measure) => (measure === "cost_usd" ? dollars : counted);

function counted(number) {
  const long = number >= 100_000;
  return number.toLocaleString("en", long ? { notation: "compact", maximumFractionDigits: 1 } : {});
}

function dollars(amount) {
  const digits = amount && amount < 0.1 ? { maximumSignificantDigits: 2 } : {};
  return amount.toLocaleString("en", { style: "currency", currency: "USD", ...digits });
}

function dayOf(day) {
  return new Date(day).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });
}

// Text becomes text nodes: a name that somebody chose is never markup.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// --- Calls of the service, with the key of this tab ---

const KEY = "api-key";
const dialog = $("key-dialog");

async function get(path) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    let response;
    try {
      response = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {}, credentials: "omit" });
    } catch {
      throw new Error("The service cannot be reached.");
    }
    if (response.ok) return response.json();
    const { detail } = await response.json().catch(() => ({}));
    const reason = key ? "The service did not accept that key." : "The service asks for a key.";
    if (response.status !== 401 || !(await isGiven(reason))) throw new Error(detail ?? "It did not work.");
  }
}

function isGiven(reason) {
  $("key-reason").textContent = reason;
  $("key-input").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given"), { once: true });
  });
}

dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key-input").value.trim());
  dialog.close("given");
});
$("key-cancel").addEventListener("click", () => dialog.close(""));
$("key-button").addEventListener("click", async () => {
  if (await isGiven("Give this tab one of the service's keys.")) load();
});

choice.addEventListener("change", ({ target }) => (target.name === "measure" && shown ? show() : load()));
choice.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("resize", () => shown && show());
load();
