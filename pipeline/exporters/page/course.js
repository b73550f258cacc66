// The chosen series: its value, what was said some steps before, the interval, alerts, what is to come.

import { Gone, Poll, ask } from "./api.js";
import { Chart, css, lineOf, sample } from "./chart.js";
import { byId, el, setText } from "./dom.js";
import { count, duration, kindTitle, number, stateTitle, time, title } from "./format.js";
import { episodes } from "./overview.js";

export class Course {
  constructor(choice) {
    this.choice = choice;
    this.shown = null; // {series, step, names} that the chart was made for
    this.hidden = new Set(["blend"]);
    this.poll = new Poll(() => this.load(), 1000);
    this.poll.now();
  }

  choose() {
    this.history = null;
    this.answer = null;
    this.poll.now();
    this.render();
  }

  async load() {
    const { series, step } = this.choice;
    if (series == null || step == null) return this.render();
    let answer;
    try {
      answer = await ask("series", { id: series, step, after: this.history?.newest });
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      if (series === this.choice.series) this.render({ isGone: true });
      return;
    }
    if (series !== this.choice.series || step !== this.choice.step) return; // chosen meanwhile
    this.answer = answer;
    if (answer.history) this.history = answer.history;
    this.render();
  }

  render({ isGone = false } = {}) {
    const { answer, history } = this;
    const title = answer?.name || this.choice.series;
    setText(byId("chart-name"), title ?? "No series chosen");
    setText(byId("chart-id"), answer && answer.name !== answer.series ? answer.series : "");
    setText(byId("chart-facts"), answer ? describeFacts(answer) : "");
    byId("chart-id").title = answer?.series ?? "";
    this.renderState(isGone);
    if (history) this.draw();
    else this.clear();
  }

  renderState(isGone) {
    const box = byId("chart-state");
    const { answer, history } = this;
    let kind = "";
    let text = "";
    if (isGone) [kind, text] = ["stale", "This worker has no such series any more."];
    else if (this.choice.series == null) text = "Choose a series to see it against its forecasts.";
    else if (!answer) text = "Loading…";
    else if (answer.firing.length) [kind, text] = ["alert", `Alert: ${answer.firing.map(kindTitle).join(", ")}. ${reason(answer)}`];
    else if (answer.state === "stale") [kind, text] = ["stale", `Silent: the last reading came at ${time(answer.heard)}.`];
    else if (answer.readings_needed > 0) [kind, text] = ["warming", `Warming up: needs ${count(answer.readings_needed)} more readings.`];
    else if (!history) text = "Waiting for the next reading of this series.";
    if (box.dataset.kind !== kind) box.dataset.kind = kind;
    setText(box, text);
  }

  clear() {
    this.chart?.destroy();
    this.chart = null;
    this.shown = null;
    byId("chart").setAttribute("aria-label", "No data yet");
    byId("legend").replaceChildren();
    setText(byId("chart-errors"), "");
  }

  draw() {
    const { history, answer } = this;
    const names = Object.keys(history.forecasts);
    const key = JSON.stringify([answer.series, answer.unit, names]);
    if (this.shown !== key) this.make(names, key);
    const bounds = history.forecasts[this.interval] ?? { upper: [], lower: [] };
    const empty = history.time.map(() => null);
    const data = [
      history.time,
      this.interval ? bounds.upper : empty,
      this.interval ? bounds.lower : empty,
      ...names.map((name) => (this.hidden.has(name) ? empty : history.forecasts[name].mean)),
      history.value,
    ];
    this.chart.set(data);
    byId("chart").setAttribute("aria-label", this.describe());
    this.renderLegend(null);
    this.renderErrors();
  }

  make(names, key) {
    this.clear();
    this.shown = key;
    this.interval ??= ["lstm", "rnn", "gru", ...names].find((name) => names.includes(name));
    const bound = { colour: "--grid", dash: [], width: 0, isHidden: true };
    this.chart = new Chart(
      byId("chart"),
      [
        { name: "upper", line: bound },
        { name: "lower", line: bound },
        ...names.map((name) => ({ name, line: lineOf(name) })),
        { name: "value", line: lineOf("value") },
      ],
      {
        isTime: true,
        yLabel: this.answer.unit || "value",
        bands: [{ series: [1, 2], fill: () => css(`${lineOf(this.interval).colour}-band`) }],
        draw: (u) => this.mark(u),
        point: (at) => this.renderLegend(at),
      },
    );
    this.makeLegend(names);
  }

  // Where the present is, and the stretches in which alerts fired.
  mark(u) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    const place = (ms) => Math.min(Math.max(u.valToPos(ms, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    const now = place(this.history.newest);
    ctx.strokeStyle = css("--quiet");
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(now, bbox.top);
    ctx.lineTo(now, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    for (const alert of episodes(this.answer.alerts)) {
      if ((alert.ended ?? Infinity) < this.history.time[0]) continue;
      const [from, to] = [place(alert.started), place(alert.ended ?? this.history.newest)];
      ctx.fillStyle = css("--alert-band");
      ctx.fillRect(from, bbox.top, Math.max(to - from, 2 * ratio), bbox.height);
      ctx.fillStyle = css("--alert");
      ctx.fillRect(from, bbox.top, Math.max(to - from, 2 * ratio), 3 * ratio);
      ctx.fillText(`▲ ${kindTitle(alert.kind)}`, Math.min(from, bbox.left + bbox.width - 90 * ratio), bbox.top + 16 * ratio);
    }
    ctx.restore();
  }

  makeLegend(names) {
    const items = ["value", ...names].map((name) => {
      const shown = el("span", { class: "legend-value" });
      const text = name === "value" ? "value" : title(name);
      if (name === "value") return { name, shown, box: el("span", { class: "legend-item" }, sample(name), text, shown) };
      const toggle = el("input", {
        type: "checkbox",
        checked: !this.hidden.has(name),
        onchange: () => {
          this.hidden[toggle.checked ? "delete" : "add"](name);
          this.draw();
        },
      });
      return { name, shown, box: el("label", { class: "legend-item" }, toggle, sample(name), text, shown) };
    });
    const chosen = el("select", { onchange: () => { this.interval = chosen.value; this.draw(); this.chart.redraw(); } },
      ...names.map((name) => el("option", { value: name, selected: name === this.interval }, title(name))),
      el("option", { value: "" }, "none"));
    this.legend = items;
    this.legendTime = el("span", { class: "legend-time" });
    byId("legend").replaceChildren(
      this.legendTime, ...items.map((item) => item.box),
      el("label", { class: "legend-item" }, "90 % interval of ", chosen),
    );
  }

  renderLegend(at) {
    const { history, answer } = this;
    if (!this.legend || !history) return;
    const place = at ?? history.time.indexOf(history.newest);
    setText(this.legendTime, time(history.time[place]));
    for (const { name, shown } of this.legend) {
      const values = name === "value" ? history.value : history.forecasts[name].mean;
      setText(shown, `${number(values[place], 5)}${answer.unit && values[place] != null ? ` ${answer.unit}` : ""}`);
    }
  }

  renderErrors() {
    const errors = this.history.errors;
    const parts = Object.entries(errors).map(([name, value]) => `${title(name)} ${number(value, 3)}`);
    const unit = this.answer.unit ? ` ${this.answer.unit}` : "";
    setText(byId("chart-errors"), parts.length ? `Mean error in this stretch${unit && `, in${unit}`}: ${parts.join(" · ")}` : "");
  }

  describe() {
    const { history, answer } = this;
    const place = history.time.indexOf(history.newest);
    const unit = answer.unit ? ` ${answer.unit}` : "";
    const said = Object.entries(history.forecasts)
      .map(([name, each]) => `${title(name)} ${number(each.mean[place])}`).join(", ");
    return `Chart of ${answer.name}: value ${number(history.value[place])}${unit} at ${time(history.newest)}; `
      + `said ${history.step} steps before: ${said}`;
  }
}

function describeFacts(answer) {
  const labels = Object.values(answer.labels ?? {}).filter(Boolean).join(" / ");
  const cadence = answer.cadence_ms ? `a reading every ${duration(answer.cadence_ms)}` : "cadence not known yet";
  return [stateTitle(answer.state), cadence, labels, `partition ${answer.partition}`].filter(Boolean).join(" · ");
}

const reason = (answer) => answer.alerts.find((alert) => alert.state === "firing")?.reason ?? "";
