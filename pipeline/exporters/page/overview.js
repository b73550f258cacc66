// What holds for the whole worker: the sentence, its vital signs, the forecasters, pairs of them, alerts.

import { lineOf, sample } from "./chart.js";
import { byId, el, name, setText, svg } from "./dom.js";
import {
  count, duration, kindTitle, number, percent, signedPercent, small, stateTitle, time, title,
} from "./format.js";

const MOST_ALERTS = 30;
const MATERIAL = 0.02; // as the comparison has it: less is no difference that matters

export function renderOverview(overview, step, onSeries) {
  renderHeadline(overview);
  renderVitals(overview);
  renderForecasters(overview, step);
  renderPairs(overview, step);
  renderAlerts(overview, onSeries);
}

export function renderHeadline({ sentence, worker }) {
  const [first, ...rest] = sentence.split("; ");
  setText(byId("sentence"), rest.length ? `${first};` : first);
  setText(byId("sentence-rest"), rest.join("; "));
  const parts = [];
  if (worker.topic) parts.push(worker.topic);
  if (worker.partitions.length) {
    const all = worker.partitions.length === worker.num_partitions;
    const noun = worker.partitions.length === 1 ? "partition" : "partitions";
    parts.push(`${noun} ${ranges(worker.partitions)}${all ? "" : ` of ${worker.num_partitions}`}`);
  }
  parts.push(`${count(worker.series)} series of this worker`);
  setText(byId("scope"), parts.join(", "));
}

// [4, 5, 6, 7, 9] is "4–7, 9".
export function ranges(numbers) {
  const found = [];
  for (const at of numbers) {
    const last = found.at(-1);
    if (last && last[1] === at - 1) last[1] = at;
    else found.push([at, at]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

function renderVitals(overview) {
  const { states } = overview.worker;
  const age = overview.last_reading == null ? null : Math.max(overview.time - overview.last_reading, 0);
  const told = Object.entries(states)
    .filter(([state, series]) => series && state !== "retired")
    .map(([state, series]) => `${count(series)} ${stateTitle(state)}`);
  const firing = new Set(episodes(overview.alerts).filter(({ state }) => state === "firing").map(({ series }) => series));
  const values = [
    ["series", told.join(", ") || "none yet"],
    ["alerting", firing.size ? `${count(firing.size)} series` : "none", firing.size ? "alert" : ""],
    ["readings", `${number(overview.readings_per_second, 3)} /s`],
    ["behind", overview.lag == null ? "–" : `${count(overview.lag)} messages`],
    ["last reading", age == null ? "none yet" : age < 2000 ? "now" : `${duration(age)} ago`],
  ];
  const box = byId("vitals");
  if (box.children.length !== values.length) {
    box.replaceChildren(...values.map(() => el("div", {}, el("dt"), el("dd"))));
  }
  values.forEach(([label, text, kind = ""], at) => {
    const [dt, dd] = box.children[at].children;
    setText(dt, label);
    setText(dd, text);
    dd.dataset.kind = kind;
  });
}

function renderForecasters({ forecasters, champion, steps }, step) {
  const h = steps.includes(step) ? step : steps[0];
  const head = el("tr", {},
    ...["", "error", "skill", "coverage", "best at", "time", "parameters"].map((text, at) =>
      el("th", { scope: "col", title: HELP[at] }, text)));
  const rows = forecasters.map((each) => {
    const figures = each.steps[h] ?? {};
    return el("tr", {},
      el("th", { scope: "row" }, sample(each.name), " ", title(each.name), each.name === champion ? el("small", {}, " champion") : ""),
      ...[
        number(figures.mae, 3), percent(figures.skill), percent(figures.coverage), percent(each.won, 0),
        small(each.seconds_per_reading), each.parameters ? count(each.parameters) : "–",
      ].map((text) => el("td", {}, text)));
  });
  const caption = el("caption", {}, `${h} ${h === 1 ? "step" : "steps"} ahead. Error: mean over series, 1 is what the `
    + "last value misses at one step. Skill: share of the last value's error that is saved. Coverage: readings "
    + "inside the 90 % interval. Best at: share of series. Time: of a reading.");
  byId("forecasters").replaceChildren(caption, el("thead", {}, head), el("tbody", {}, ...rows));
}

const HELP = [
  null, "mean absolute error in units of each series' naive one-step error (MASE)", "1 - error / error of the last value",
  "share of readings inside the interval of nominally 90 %", "share of series at which it errs least, over all steps",
  "spent on one reading, forecasting and learning", "weights that are learnt",
];

function renderPairs({ comparison, forecasters }, step) {
  const nets = forecasters.filter((each) => each.recurrent).map((each) => each.name);
  const wanted = comparison.filter((row) => nets.includes(row.a)
    && (row.step === step || (row.step == null && row.b !== "naive")));
  setText(byId("compare-scope"), wanted.length
    ? `Mean error over all series of this worker, ${step} ${step === 1 ? "step" : "steps"} ahead.`
    : "Nothing compared yet: no forecast has met its reading.");
  const ordered = [...wanted].sort((x, y) => (x.b === "naive") - (y.b === "naive") || (x.step == null) - (y.step == null));
  byId("pairs").replaceChildren(...ordered.map(describePair));
}

function describePair(row) {
  const where = row.step == null ? "all steps" : `${row.step} ${row.step === 1 ? "step" : "steps"} ahead`;
  const better = row.difference <= 0 ? row.a : row.b;
  const isKnown = row.lower != null && row.upper != null;
  const details = [
    isKnown ? `95 %: ${signedPercent(row.lower)} to ${signedPercent(row.upper)}` : null,
    row.p != null ? `Diebold–Mariano p ${row.p < 0.001 ? "< 0.001" : row.p.toFixed(3)}` : null,
    row.won != null ? `${title(row.a)} ahead on ${percent(row.won, 0)} of series` : null,
  ].filter(Boolean);
  const verdict = row.verdict === "better" ? `${title(better)} is better`
    : row.verdict === "undecided" && row.needs ? `undecided, needs ${count(row.needs)} more readings` : row.verdict;
  return el("div", { class: "pair" },
    el("p", { class: "pair-head" }, el("span", {}, `${title(row.a)} against ${title(row.b)}`), el("span", { class: "quiet" }, where)),
    forest(row),
    el("p", {}, el("strong", {}, `${signedPercent(row.difference)}`), ` error · ${verdict}`),
    el("p", { class: "quiet" }, details.join(" · ") || "no interval yet"));
}

// Difference and interval on a line; the grey stretch is what doesn't matter, its middle no difference.
function forest({ a, difference, lower, upper }) {
  const reach = Math.max(0.06, 1.15 * Math.max(Math.abs(difference), Math.abs(lower ?? 0), Math.abs(upper ?? 0)));
  const at = (share) => 100 + 100 * Math.max(Math.min(share / reach, 1), -1);
  const drawn = svg("svg", { viewBox: "0 0 200 18", class: "forest", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { x: at(-MATERIAL), y: 1, width: at(MATERIAL) - at(-MATERIAL), height: 16, class: "forest-zone" }),
    svg("line", { x1: 100, x2: 100, y1: 0, y2: 18, class: "forest-zero" }));
  const colour = `var(${lineOf(a).colour})`;
  if (lower != null && upper != null) {
    const line = svg("line", { x1: at(lower), x2: at(upper), y1: 9, y2: 9, "stroke-width": 3 });
    line.style.stroke = colour;
    drawn.append(line);
  }
  const point = svg("rect", { x: at(difference) - 2, y: 3, width: 4, height: 12 });
  point.style.fill = colour;
  drawn.append(point);
  return drawn;
}

// The newest message of each episode, in the order of those; they come with the newest first.
export function episodes(alerts) {
  const found = new Map();
  for (const alert of alerts) if (!found.has(alert.id) && alert.state !== "noted") found.set(alert.id, alert);
  return [...found.values()];
}

let shownAlerts = "";

function renderAlerts({ alerts }, onSeries) {
  const told = episodes(alerts).slice(0, MOST_ALERTS);
  const key = JSON.stringify(told.map((alert) => [alert.id, alert.state, alert.time]));
  if (key === shownAlerts) return;
  shownAlerts = key;
  const box = byId("alerts");
  if (!told.length) {
    box.replaceChildren(el("p", { class: "quiet" }, "None since this worker started."));
    return;
  }
  const at = box.scrollTop;
  box.replaceChildren(...told.map((alert) => el("button",
    { type: "button", class: "alert-row", "data-state": alert.state, onclick: () => onSeries(alert.series) },
    el("span", { class: "alert-state" }, alert.state === "firing" ? "▲ firing" : `✓ ${alert.resolution ?? alert.state}`),
    el("span", { class: "alert-time" }, span(alert)),
    el("span", { class: "alert-name" }, name(alert.name), " · ", kindTitle(alert.kind)),
    el("span", { class: "alert-reason quiet" }, alert.reason))));
  box.scrollTop = at;
}

function span({ started, ended }) {
  return ended == null ? `since ${time(started)}` : `${time(started)}, for ${duration(ended - started)}`;
}
