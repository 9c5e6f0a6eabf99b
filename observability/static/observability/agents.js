// The running agents: a row for each, with its step and what it does now.

import { age, number, shortId, usd } from "./format.js";
import { mayChange, root } from "./page.js";
import { make, write } from "./runs.js";

const AGES_EVERY_MS = 1_000;
const DOING = { model_call: "asks the model", retry: "waits to retry" };

/** What an agent does now, in a few words. */
export function doing(agent) {
  if (agent.kind === "tool_call" || agent.kind === "denied") {
    const others = agent.parallel - 1;
    return others > 0 ? `${agent.doing} +${others}` : agent.doing;
  }
  return DOING[agent.kind] ?? (agent.call ? "between steps" : "starts");
}

export class AgentTable {
  constructor(live) {
    this._live = live;
    this._card = document.getElementById("agents-card");
    this._body = this._card.querySelector("tbody");
    this._empty = this._card.querySelector("[data-agents-empty]");
    this._rows = new Map();
    live.addEventListener("runs", () => this._show());
    live.addEventListener("gateway", () => this._showCard());
    setInterval(() => this._showAges(), AGES_EVERY_MS);
    this._show();
  }

  _show() {
    const runs = [...this._live.runs.values()].filter((run) => run.agent).sort((a, b) => a.received - b.received);
    const there = new Set(runs.map((run) => run.id));
    for (const [id, row] of this._rows) {
      if (there.has(id)) continue;
      row.element.remove();
      this._rows.delete(id);
    }
    for (const run of runs) {
      if (!this._rows.has(run.id)) {
        this._rows.set(run.id, newRow(run));
        this._body.append(this._rows.get(run.id).element);
      }
      fill(this._rows.get(run.id), run);
    }
    this._empty.hidden = runs.length > 0;
    write(this._card.querySelector("[data-agents-count]"), runs.length ? `${number(runs.length)} running` : "");
    this._showAges();
    this._showCard();
  }

  /** Only where agents are in use. */
  _showCard() {
    this._card.hidden = !this._rows.size && !("agents" in (this._live.queue.by_engine ?? {}));
  }

  _showAges() {
    const now = this._live.now();
    for (const { run, cells } of this._rows.values()) write(cells.age, age(now - run.received));
  }
}

function newRow(run) {
  const link = make("a", { className: "d-link", textContent: run.agent.name, title: run.id });
  link.href = `${root.dataset.requestsUrl}/${encodeURIComponent(run.id)}`;
  const bar = make("progress", {});
  bar.setAttribute("aria-hidden", "true");
  const step = make("span", {});
  const what = make("td", { className: "d-doing d-wide" });
  const below = make("span", { className: "d-narrow d-muted" });
  const cells = {
    bar, step, what, below,
    age: make("td", { className: "d-num" }),
    tools: make("td", { className: "d-num d-wide" }),
    cost: make("td", { className: "d-num" }),
  };
  const last = make("td", { className: "d-num" });
  if (mayChange) {
    cells.cancel = make("button", { type: "button", className: "d-button d-button-danger d-button-small", textContent: "Cancel" });
    cells.cancel.dataset.cancel = run.id;
    cells.cancel.setAttribute("aria-label", `Cancel ${run.agent.name}, request ${shortId(run.id)}`);
    last.append(cells.cancel);
  }
  const element = make("tr", {},
    make("td", {}, link, below),
    make("td", { className: "d-wide d-key", textContent: run.key || "–", title: run.key }),
    make("td", {}, make("span", { className: "d-agent-step" }, step, bar)),
    what, cells.tools, cells.age, cells.cost, last,
  );
  element.dataset.agent = run.id;
  return { element, run, cells };
}

function fill(row, run) {
  const { agent } = run;
  row.run = run;
  const { cells } = row;
  write(cells.step, agent.call ? `${number(agent.call)}/${number(agent.max_calls)}` : `–/${number(agent.max_calls)}`);
  cells.bar.max = agent.max_calls;
  cells.bar.value = Math.min(agent.call, agent.max_calls);
  const text = run.phase === "queued" ? "queued" : doing(agent);
  write(cells.what, text);
  write(cells.below, text);
  cells.what.title = text;
  write(cells.tools, number(agent.tools));
  write(cells.cost, usd(agent.cost));
}
