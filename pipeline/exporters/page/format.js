// Numbers and times as people read them.

const THIN = "\u202f";
const NONE = "–";

export function count(value) {
  return value == null ? NONE : Math.round(value).toLocaleString("en").replaceAll(",", THIN);
}

// Four or five digits that mean something, no exponent where none is needed.
export function number(value, digits = 4) {
  if (value == null || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-4)) return value.toExponential(digits - 2).replace("-", "−");
  const whole = size >= 10 ** (digits - 1);
  const text = value.toLocaleString("en", whole
    ? { maximumFractionDigits: 0 }
    : { maximumSignificantDigits: digits });
  return text.replaceAll(",", THIN).replace("-", "−");
}

export function percent(share, digits = 1) {
  if (share == null || !Number.isFinite(share)) return NONE;
  const text = (100 * share).toFixed(digits);
  return `${(Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−")} %`;
}

export function signedPercent(share, digits = 1) {
  if (share == null || !Number.isFinite(share)) return NONE;
  const text = (100 * Math.abs(share)).toFixed(digits);
  return `${Number(text) === 0 ? "" : share < 0 ? "−" : "+"}${text} %`;
}

const UNITS = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"]];

// 90 000 is "1.5 min", 45 000 "45 s".
export function duration(ms) {
  if (ms == null) return NONE;
  for (const [size, unit] of UNITS) {
    if (ms >= size) return `${Number((ms / size).toFixed(ms < 10 * size ? 1 : 0))} ${unit}`;
  }
  return ms >= 1 ? `${Math.round(ms)} ms` : "0 s";
}

export function small(seconds) {
  if (seconds == null) return NONE;
  if (seconds >= 1) return `${number(seconds, 3)} s`;
  return seconds >= 1e-3 ? `${number(seconds * 1e3, 3)} ms` : `${number(seconds * 1e6, 3)} µs`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const shortClock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export function time(ms) {
  const date = new Date(ms);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

// Labels of a time axis, by how far apart they are.
export function axisTimes(splits, stepMs) {
  return splits.map((ms, at) => {
    const date = new Date(ms);
    if (stepMs >= 86_400_000) return day.format(date);
    const isNewDay = at > 0 && new Date(splits[at - 1]).getDate() !== date.getDate();
    return `${isNewDay ? `${day.format(date)} ` : ""}${(stepMs >= 60_000 ? shortClock : clock).format(date)}`;
  });
}

const TITLES = {
  rnn: "RNN", lstm: "LSTM", gru: "GRU", linear: "linear", blend: "blend", naive: "last value",
  seasonal_naive: "yesterday",
};
export const title = (forecaster) => TITLES[forecaster] ?? forecaster;

const STATES = { cold: "cold", warming: "warming up", live: "live", stale: "stale", retired: "retired" };
export const stateTitle = (state) => STATES[state] ?? state;

const KINDS = {
  anomaly: "anomaly", silent: "silent", stuck: "stuck", bad_quality: "bad quality", out_of_range: "out of range",
};
export const kindTitle = (kind) => KINDS[kind] ?? kind;
