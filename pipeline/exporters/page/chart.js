// A uPlot that fills its box, follows the theme and takes new data without being made anew.

import { svg } from "./dom.js";
import { axisTimes, number } from "./format.js";

// Told apart by dash as well as by colour; colours are Okabe and Ito's, which the colour-blind tell apart.
export const LINES = {
  value: { colour: "--value", dash: [], width: 2 },
  lstm: { colour: "--lstm", dash: [10, 4], width: 2 },
  rnn: { colour: "--rnn", dash: [3, 3], width: 2 },
  gru: { colour: "--gru", dash: [10, 3, 2, 3], width: 2 },
  naive: { colour: "--naive", dash: [2, 5], width: 1.5 },
  blend: { colour: "--blend", dash: [14, 4, 2, 4], width: 1.5 },
  linear: { colour: "--linear", dash: [6, 6], width: 1.5 },
};
const OTHER = { colour: "--naive", dash: [1, 4], width: 1.5 };
export const lineOf = (forecaster) => LINES[forecaster] ?? OTHER;

export const css = (variable) =>
  getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

export function sample(forecaster) {
  const { colour, dash, width } = lineOf(forecaster);
  const line = svg("line", { x1: 0, y1: 6, x2: 34, y2: 6, "stroke-width": width, "stroke-dasharray": dash.join(" ") });
  line.style.stroke = `var(${colour})`;
  return svg("svg", { width: 34, height: 12, "aria-hidden": "true" }, line);
}

const charts = new Set();
export const redrawAll = () => charts.forEach((chart) => chart.redraw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);

// A line of its own for a point whose neighbours are missing: nothing would show it otherwise.
function isolated(u, seriesAt) {
  const values = u.data[seriesAt];
  const [first, last] = u.series[0].idxs ?? [0, values.length - 1];
  const found = [];
  for (let at = first; at <= last; at++) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  }
  return found;
}

export class Chart {
  // series: [{name, line}], beside x. options: {isTime, log, xLabel, yLabel, bands, draw(u)}.
  constructor(box, series, options = {}) {
    this.box = box;
    this.options = options;
    const { width, height } = this.size();
    const line = ({ name, line }) => ({
      label: name,
      stroke: () => css(line.colour),
      width: line.width,
      dash: line.dash,
      spanGaps: false,
      points: { show: true, size: 5, filter: isolated, stroke: () => css(line.colour) },
      ...(line.isHidden ? { stroke: "transparent", points: { show: false } } : {}),
    });
    const axis = {
      stroke: () => css("--quiet"),
      grid: { stroke: () => css("--grid"), width: 1 },
      ticks: { stroke: () => css("--grid"), width: 1, size: 4 },
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      labelSize: 18,
    };
    this.plot = new uPlot({
      width, height,
      ms: 1,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
      scales: { x: { time: Boolean(options.isTime) }, y: { distr: options.log ? 3 : 1, range: options.range } },
      series: [{}, ...series.map(line)],
      bands: options.bands ?? [],
      axes: [
        {
          ...axis, space: 80, size: 30, label: options.xLabel,
          values: options.isTime ? (u, splits, _a, _s, step) => axisTimes(splits, step) : undefined,
        },
        {
          ...axis, label: options.yLabel, labelGap: 0,
          size: (u, values) => Math.max(44, 12 + 7.5 * Math.max(0, ...(values ?? []).map((text) => String(text ?? "").length))),
          values: (u, splits) => splits.map((value) => (value == null ? null : number(value, 4))),
        },
      ],
      hooks: {
        draw: [(u) => options.draw?.(u)],
        setCursor: [(u) => options.point?.(u.cursor.idx)],
      },
    }, [[], ...series.map(() => [])], box);
    this.observer = new ResizeObserver(() => this.plot.setSize(this.size()));
    this.observer.observe(box);
    charts.add(this);
  }

  size() {
    return { width: Math.max(this.box.clientWidth, 120), height: Math.max(this.box.clientHeight, 80) };
  }

  set(data) {
    this.plot.setData(data);
  }

  redraw() {
    this.plot.redraw(false, true);
  }

  destroy() {
    this.observer.disconnect();
    charts.delete(this);
    this.plot.destroy();
  }
}
