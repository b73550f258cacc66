// Folded away: why one network remembers longer than the other, or doesn't, and what that costs.

import { Poll, ask } from "./api.js";
import { Chart, lineOf, sample } from "./chart.js";
import { byId, el, setText } from "./dom.js";
import { count, number, percent, small, title } from "./format.js";

const SHORTEST = 1e-6; // below, a gradient is as good as gone, and a logarithm has no place for 0

export class Why {
  constructor() {
    this.box = byId("why");
    this.box.addEventListener("toggle", () => { if (this.box.open) this.poll.now(); });
    this.poll = new Poll(() => this.load(), 15000);
  }

  async load() {
    if (!this.box.open) return;
    const answer = await ask("networks");
    const names = Object.keys(answer.training);
    setText(byId("why-text"), say(answer, names));
    this.drawReach(answer.reach);
    this.renderTraining(answer, names);
    renderMasked(answer.masked, names);
  }

  drawReach(reach) {
    const names = Object.keys(reach).filter((name) => reach[name].series > 0);
    if (this.names?.join() !== names.join()) {
      this.names = names;
      this.chart?.destroy();
      this.chart = names.length ? new Chart(byId("reach"), names.map((name) => ({ name, line: lineOf(name) })), {
        log: true, xLabel: "lag in steps", yLabel: "gradient, newest = 1",
        // To one digit: from 9.7e-4, say, uPlot (1.6.32) would look for its next grid line for ever.
        range: (u, low, high) => [Number(Math.max(low / 2, SHORTEST).toExponential(0)), Math.max(high, 1) * 1.5],
      }) : null;
      byId("reach-legend").replaceChildren(
        ...names.map((name) => el("span", { class: "legend-item" }, sample(name), title(name))));
    }
    if (!names.length) return;
    const lags = reach[names[0]].inputs.map((_, lag) => lag);
    this.chart.set([lags, ...names.map((name) => reach[name].inputs.map((value) => (value == null ? null : Math.max(value, SHORTEST))))]);
    byId("reach").setAttribute("aria-label", names.map((name) => `${title(name)} reaches ${reach[name].memory} steps back`).join(", "));
  }

  renderTraining({ training, cost }, names) {
    const rows = [
      ["gradient norm, before clipping", (name) => number(training[name].norm, 3)],
      ["loss of the last step", (name) => number(training[name].loss, 3)],
      ["training steps", (name) => count(total(training[name]))],
      ["of these clipped", (name) => percent(training[name].clipped / Math.max(total(training[name]), 1))],
      ["skipped, not finite", (name) => count(training[name].skipped)],
      ["parameters", (name) => count(cost[name].parameters)],
      ["time a reading", (name) => small(cost[name].seconds_per_reading)],
      ["state of a series", (name) => (cost[name].bytes_per_series == null ? "–" : `${count(cost[name].bytes_per_series)} bytes`)],
    ];
    byId("training").replaceChildren(
      el("caption", {}, "Since this worker started; a shard from a checkpoint brings its steps along."),
      el("thead", {}, el("tr", {}, el("td"), ...names.map((name) => el("th", { scope: "col" }, title(name))))),
      el("tbody", {}, ...rows.map(([label, find]) =>
        el("tr", {}, el("th", { scope: "row" }, label), ...names.map((name) => el("td", {}, find(name)))))));
  }
}

// How errors grow where readings are missing; shown once series differ in that.
function renderMasked(rows, names) {
  const shown = new Set(rows.map((row) => row.masked_to)).size > 1;
  byId("masked-box").hidden = !shown;
  if (!shown) return;
  byId("masked").replaceChildren(
    el("caption", {}, "Mean error in units of a series' scale. Rows hold other series and other hours: compare within a row."),
    el("thead", {}, el("tr", {}, ...["masked", "steps ahead", "targets", ...names.map(title)].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, el("th", { scope: "row" }, `up to ${percent(row.masked_to, 0)}`),
      ...[count(row.step), count(row.targets), ...names.map((name) => number(row.error[name], 3))].map((text) => el("td", {}, text))))));
}

const total = ({ applied, clipped }) => applied + clipped;

function say({ reach, needed }, names) {
  const known = names.filter((name) => reach[name]?.memory != null);
  if (!known.length) {
    return needed == null ? "Nothing to tell before the first readings."
      : `Gradients can be followed back once a series has ${count(needed)} readings and the networks have learnt a little.`;
  }
  const longest = reach[known[0]].inputs.length - 1;
  const parts = known.map((name) => {
    const back = reach[name].memory;
    return `${title(name)} ${back >= longest ? `at least ${longest}` : back} ${back === 1 ? "step" : "steps"}`;
  });
  return "A reading so far back still moves the newest loss by more than 1 % of what the newest reading does: "
    + `${parts.join(", ")}. Shorter than the horizon means that what lies further back reaches the forecast only `
    + "through what the state has kept, not through learning.";
}
