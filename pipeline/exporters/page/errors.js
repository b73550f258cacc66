// Error over time of the networks and of the last value, over all series of the worker.

import { Poll, ask } from "./api.js";
import { Chart, lineOf, sample } from "./chart.js";
import { byId, el, setText } from "./dom.js";
import { title } from "./format.js";

export class Errors {
  constructor(choice) {
    this.choice = choice;
    this.poll = new Poll(() => this.load(), 4000);
    this.poll.now();
  }

  async load() {
    const { step, networks } = this.choice;
    if (step == null) return;
    const { time, errors } = await ask("errors", { step });
    if (step !== this.choice.step) return;
    const names = ["naive", ...networks].filter((name) => name in errors);
    setText(byId("errors-title"), `Error over time, ${step} ${step === 1 ? "step" : "steps"} ahead`);
    if (this.names?.join() !== names.join()) this.make(names);
    this.chart.set([time, ...names.map((name) => errors[name])]);
    const last = names.map((name) => `${title(name)} ${errors[name].at(-1) ?? "unknown"}`).join(", ");
    byId("errors").setAttribute("aria-label", `Mean error of all series over time, the newest: ${last}`);
  }

  make(names) {
    this.names = names;
    this.chart?.destroy();
    this.chart = new Chart(byId("errors"), names.map((name) => ({ name, line: lineOf(name) })), {
      isTime: true, yLabel: "error ÷ spread", range: (u, low, high) => [0, Math.max(high * 1.1, 0.01)],
    });
    byId("errors-legend").replaceChildren(
      ...names.map((name) => el("span", { class: "legend-item" }, sample(name), title(name))));
  }
}
