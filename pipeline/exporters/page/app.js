// The live page: asks the worker now and then, and shows what it says. State that a link should carry (series,
// step) is in the address; the theme is the browser's own business.

import { Poll, Unreachable, ask } from "./api.js";
import { redrawAll } from "./chart.js";
import { Course } from "./course.js";
import { byId, el, setText } from "./dom.js";
import { Errors } from "./errors.js";
import { count, duration } from "./format.js";
import { SeriesList } from "./list.js";
import { renderOverview } from "./overview.js";
import { Why } from "./why.js";

const PREFERRED_STEP = 8;
const THEMES = ["auto", "light", "dark"];

const choice = { series: null, step: null, networks: [] };
let overview = null;
let lostAt = null;

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  choice.series = given.get("series");
  choice.step = Number(given.get("step")) || choice.step;
}

function writeAddress() {
  const told = new URLSearchParams();
  if (choice.series != null) told.set("series", choice.series);
  if (choice.step != null) told.set("step", choice.step);
  history.replaceState(null, "", `#${told}`);
}

function chooseSeries(series) {
  if (series === choice.series) return;
  choice.series = series;
  writeAddress();
  course.choose();
  list.render();
}

function chooseStep(step) {
  choice.step = step;
  writeAddress();
  course.choose();
  errors.poll.now();
  list.soon();
  if (overview) renderOverview(overview, step, chooseSeries);
}

let shownSteps = "";

function renderSteps(steps) {
  if (shownSteps === steps.join()) return;
  shownSteps = steps.join();
  byId("steps").replaceChildren(
    el("legend", {}, "Forecasts made"),
    ...steps.map((step) => el("label", {},
      el("input", { type: "radio", name: "step", value: step, checked: step === choice.step, onchange: () => chooseStep(step) }),
      el("span", {}, String(step)))),
    el("span", { class: "steps-unit" }, "steps before"));
}

async function load() {
  try {
    overview = await ask("overview");
  } catch (error) {
    if (error instanceof Unreachable) lostAt ??= Date.now();
    renderLink();
    throw error;
  }
  lostAt = null;
  choice.networks = overview.forecasters.filter((each) => each.recurrent).map((each) => each.name);
  const { steps } = overview;
  if (steps.length && !steps.includes(choice.step)) {
    choice.step = steps.includes(PREFERRED_STEP) ? PREFERRED_STEP : steps.at(-1);
    writeAddress();
  }
  renderSteps(steps);
  renderLink();
  renderOverview(overview, choice.step, chooseSeries);
  renderNotice();
}

function renderLink() {
  const box = byId("link");
  const [kind, text] = lostAt != null
    ? ["lost", `disconnected for ${duration(Math.max(Date.now() - lostAt, 1000))}, trying again`]
    : overview?.ready ? ["live", "connected"] : ["busy", "connected, not ready"];
  if (box.dataset.kind !== kind) box.dataset.kind = kind;
  setText(box, text);
  document.body.classList.toggle("lost", lostAt != null);
}

function renderNotice() {
  const { worker, obstacles } = overview;
  let text = "";
  if (obstacles.length) text = `Not ready: ${obstacles.slice(0, 3).join("; ")}`;
  else if (!worker.partitions.length) text = "This worker has no partitions: others of its group serve them, or it is waiting for its share.";
  else if (!worker.series) text = "No readings yet. They are expected in the topic above; `gatecast simulate` sends some.";
  else if (!worker.states.live && !worker.states.stale) {
    text = `All ${count(worker.series)} series are warming up; alerts and verdicts come once they are live.`;
  }
  setText(byId("notice"), text);
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText(byId("theme"), `Theme: ${theme}`);
  redrawAll();
}

function begin() {
  let theme = "auto";
  try { theme = localStorage.getItem("gatecast-theme") ?? "auto"; } catch { /* storage may be forbidden */ }
  setTheme(THEMES.includes(theme) ? theme : "auto");
  byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try { localStorage.setItem("gatecast-theme", theme); } catch { /* as above */ }
    setTheme(theme);
  });
  addEventListener("hashchange", () => { readAddress(); course.choose(); list.render(); });
  setInterval(() => { if (lostAt != null) renderLink(); }, 1000);
  new Poll(load, 2000).now();
}

readAddress();
const course = new Course(choice);
const list = new SeriesList(choice, chooseSeries);
const errors = new Errors(choice);
new Why();
begin();
