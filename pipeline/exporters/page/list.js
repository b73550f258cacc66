// The list of series: only the rows in sight exist, and only their figures are asked for.

import { Poll, ask } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { count, kindTitle, number, stateTitle } from "./format.js";

const ROW = 52; // pixels, as in the style sheet
const AROUND = 15; // rows asked for above and below
const PAUSE_MS = 120; // of scrolling and typing, before anything is asked

export class SeriesList {
  constructor(choice, onChoice) {
    this.choice = choice;
    this.onChoice = onChoice;
    this.rows = new Map(); // by place in the order
    this.found = 0;
    this.active = 0;
    this.pool = [];
    this.box = byId("list");
    this.space = el("div", { class: "list-space", role: "presentation" });
    this.box.append(this.space);
    this.box.addEventListener("scroll", () => { this.render(); this.soon(); }, { passive: true });
    this.box.addEventListener("keydown", (event) => this.press(event));
    for (const id of ["search", "state", "order"]) {
      byId(id).addEventListener("input", () => this.restart());
    }
    new ResizeObserver(() => this.render()).observe(this.box);
    this.poll = new Poll(() => this.load(), 3000);
    this.poll.now();
  }

  restart() {
    this.rows.clear();
    this.active = 0;
    this.box.scrollTop = 0;
    this.soon();
  }

  soon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.poll.now(), PAUSE_MS);
  }

  window() {
    const first = Math.floor(this.box.scrollTop / ROW);
    return [first, Math.ceil(this.box.clientHeight / ROW) + 1];
  }

  async load() {
    const [first, shown] = this.window();
    const offset = Math.max(first - AROUND, 0);
    const asked = {
      search: byId("search").value.trim(), state: byId("state").value, order: byId("order").value,
      step: this.choice.step, offset, limit: shown + 2 * AROUND,
    };
    const answer = await ask("series", asked);
    if (asked.search !== byId("search").value.trim() || asked.state !== byId("state").value) return;
    this.rows = new Map(answer.rows.map((row, at) => [answer.offset + at, row]));
    this.found = answer.found;
    const all = answer.found === answer.total;
    setText(byId("found"), all ? `${count(answer.total)} series` : `${count(answer.found)} of ${count(answer.total)} series`);
    this.space.style.height = `${Math.max(answer.found, 1) * ROW}px`;
    if (this.choice.series == null && answer.rows.length) this.onChoice(answer.rows[0].series);
    this.render();
  }

  render() {
    const [first, shown] = this.window();
    const last = Math.min(first + shown, this.found);
    let used = 0;
    for (let at = first; at < last; at++) this.fill(this.row(used++), at);
    for (; used < this.pool.length; used++) this.pool[used].box.hidden = true;
    if (!this.found) this.box.removeAttribute("aria-activedescendant");
  }

  row(number) {
    if (this.pool[number]) return this.pool[number];
    const made = {
      mark: el("span", { class: "mark", "aria-hidden": "true" }), name: el("bdi", { class: "row-name" }),
      id: el("bdi", { class: "row-id" }), state: el("span", { class: "row-state" }), error: el("span", { class: "row-error" }),
    };
    made.box = el("div", { class: "row", role: "option", id: `row-${number}` },
      made.mark, el("span", { class: "row-text" }, made.name, made.id),
      el("span", { class: "row-figures" }, made.error, made.state));
    made.box.addEventListener("click", () => { this.active = made.at; this.take(made.at); });
    this.space.append(made.box);
    this.pool.push(made);
    return made;
  }

  fill(made, at) {
    const row = this.rows.get(at);
    made.at = at;
    made.box.hidden = false;
    made.box.style.transform = `translateY(${at * ROW}px)`;
    made.box.setAttribute("aria-posinset", at + 1);
    made.box.setAttribute("aria-setsize", this.found);
    made.box.setAttribute("aria-selected", String(row != null && row.series === this.choice.series));
    const kind = row?.firing.length ? "alert" : row?.state ?? "";
    made.mark.dataset.kind = kind;
    setText(made.name, row ? row.name : "…");
    setText(made.id, row && row.name !== row.series ? row.series : "");
    made.box.title = row ? row.series : "";
    setText(made.state, row ? describeState(row) : "");
    setText(made.error, row?.error != null ? `error ${number(row.error, 3)}` : "");
    made.box.classList.toggle("active", at === this.active);
    if (at === this.active) this.box.setAttribute("aria-activedescendant", made.box.id);
  }

  take(at) {
    const row = this.rows.get(at);
    if (row) this.onChoice(row.series);
    this.render();
  }

  press(event) {
    const page = Math.max(Math.floor(this.box.clientHeight / ROW) - 1, 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" || event.key === " ") this.take(this.active);
    else if (event.key in moves) {
      this.active = Math.min(Math.max(this.active + moves[event.key], 0), Math.max(this.found - 1, 0));
      const top = this.active * ROW;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      else if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
      this.render();
    } else return;
    event.preventDefault();
  }
}

function describeState(row) {
  if (row.firing.length) return row.firing.map(kindTitle).join(", ");
  if (row.state === "warming" || row.state === "cold") return `needs ${count(row.needed)} more`;
  return stateTitle(row.state);
}
