// The workers, kept up to date by the line.

import { ago, bytes, exactTime, number, shortId, words } from "./format.js";
import { Live, showConnection, usesWorkers } from "./live.js";
import { confirm, mayChange, notify, post, root } from "./page.js";
import { make, write } from "./runs.js";

const live = new Live(root);
const body = document.querySelector("#workers tbody");
const figure = (name) => document.querySelector(`[data-${name}]`);
const processes = document.querySelector("#processes tbody");
const rows = new Map();

function show() {
  const { active, max } = live.queue;
  write(figure("slots"), `${number(active)} of ${number(max)}`);
  write(figure("workers"), number(live.workers.length));
  write(figure("memory"), bytes(live.workers.reduce((sum, worker) => sum + worker.rss, 0)));
  document.getElementById("no-workers").hidden = live.workers.length > 0;
  if (!usesWorkers(live.queue)) write(figure("kept-warm"), "0");
  document.getElementById("workers-card").hidden = !usesWorkers(live.queue) && !live.workers.length;
  const there = new Set(live.workers.map((worker) => worker.id));
  for (const [id, row] of rows) {
    if (!there.has(id)) {
      row.element.remove();
      rows.delete(id);
    }
  }
  for (const worker of live.workers) {
    if (!rows.has(worker.id)) rows.set(worker.id, newRow(worker));
    fill(rows.get(worker.id), worker);
  }
  showEngines();
  showProcesses();
  showMcpServers();
}

/** The MCP servers that agents have used, by the last result of any process. */
function showMcpServers() {
  document.getElementById("mcp-card").hidden = !live.mcp.length;
  document.querySelector("#mcp tbody").replaceChildren(...live.mcp.map((one) => {
    const state = make("span", { className: "d-chip", textContent: one.error ? "failed" : "connected" });
    state.dataset.status = one.error ? "error" : "completed";
    const when = make("td", { className: "d-line", textContent: ago(live.now() - one.at), title: exactTime(new Date(one.at * 1000)) });
    const error = make("td", { className: "d-wide d-mcp-error" });
    if (one.last_error) {
      const past = one.error ? "" : ` (${ago(live.now() - one.last_error_at)})`;
      error.append(make("span", { className: one.error ? "d-bad" : "d-muted", textContent: one.last_error + past, title: one.last_error }));
    } else error.textContent = "–";
    const tools = make("td", { className: "d-num", textContent: number(one.tools.length), title: one.tools.join(", ") });
    const name = make("td", {}, make("span", { textContent: one.name }), make("span", { className: "d-muted d-sub", textContent: one.transport }));
    if (one.error) name.append(make("span", { className: "d-narrow d-bad", textContent: one.error }));
    return make("tr", {}, name, make("td", {}, state), when, tools, error);
  }));
}

/** The engines' queues; with sdk alone the figures say the same. */
function showEngines() {
  const engines = Object.entries(live.queue.by_engine ?? {});
  document.getElementById("engines-card").hidden = !engines.some(([name]) => name !== "sdk");
  document.querySelector("#engines tbody").replaceChildren(...engines.map(([name, queue]) => make("tr", {},
    make("td", { textContent: name }),
    make("td", { className: "d-num", textContent: `${number(queue.active)} of ${number(queue.max)}` }),
    make("td", { className: "d-num", textContent: number(queue.waiting) }),
  )));
}

/** The serve processes; a table of one would say what the figures say. */
function showProcesses() {
  document.getElementById("processes-card").hidden = live.processes.length < 2;
  processes.replaceChildren(...live.processes.map((one) => make("tr", {},
    make("td", { textContent: one.process }),
    make("td", { className: "d-num", textContent: `${number(one.queue.active)} of ${number(one.queue.max)}` }),
    make("td", { className: "d-num", textContent: number(one.queue.waiting) }),
    make("td", { className: "d-num d-wide", textContent: number(one.workers) }),
    make("td", { className: "d-num d-wide", textContent: bytes(one.rss) }),
    make("td", { className: "d-wide", textContent: ago(live.now() - one.started), title: exactTime(new Date(one.started * 1000)) }),
  )));
}

function newRow(worker) {
  const parts = {
    state: make("span", { className: "d-chip" }),
    turns: make("td", { className: "d-num d-wide" }),
    rss: make("td", { className: "d-num" }),
    run: make("td", { className: "d-wide" }),
    model: make("td", { className: "d-wide" }),
    started: make("td", { className: "d-wide", title: exactTime(new Date(worker.started * 1000)) }),
  };
  const last = make("td", { className: "d-num" });
  if (mayChange) {
    parts.retire = make("button", { type: "button", className: "d-button d-button-small", textContent: "Retire" });
    parts.retire.setAttribute("aria-label", `Retire worker ${worker.id}, process ${worker.pid}`);
    parts.retire.addEventListener("click", () => retire(worker, parts.retire));
    last.append(parts.retire);
  }
  const where = `pid ${worker.pid} of ${worker.process}`;
  const name = make("td", {}, make("span", { textContent: worker.id }), make("span", { className: "d-muted d-sub", textContent: where }));
  const element = make("tr", {}, name, make("td", {}, parts.state), parts.turns, parts.rss, parts.run, parts.model, parts.started, last);
  body.append(element);
  return { element, ...parts };
}

function fill(row, worker) {
  write(row.state, words(worker.state));
  row.state.dataset.state = worker.state;
  write(row.turns, number(worker.turns));
  write(row.rss, bytes(worker.rss));
  row.rss.title = `${number(worker.rss)} bytes`;
  write(row.model, worker.model ?? "–");
  write(row.started, ago(live.now() - worker.started));
  if ((row.runId ?? "") !== (worker.run ?? "")) {
    row.runId = worker.run;
    row.run.replaceChildren();
  }
  if (worker.run && !row.run.firstChild) {
    const link = make("a", { className: "d-id", textContent: shortId(worker.run), title: worker.run });
    link.href = `${root.dataset.requestsUrl}/${encodeURIComponent(worker.run)}`;
    row.run.append(link);
  } else if (!worker.run) write(row.run, "–");
  if (row.retire && !["idle", "busy"].includes(worker.state)) row.retire.disabled = true;
}

async function retire(worker, button) {
  const busy = live.workers.find((one) => one.id === worker.id)?.state === "busy";
  const sure = await confirm({
    title: `Retire worker ${worker.id}?`,
    message: busy ? "It finishes its request first; another takes its place." : "It ends now; another takes its place.",
    yes: "Retire it",
  });
  if (!sure) return;
  button.disabled = true;
  try {
    await post(`/dashboard/workers/${encodeURIComponent(worker.id)}/retire`);
    notify("The worker is being retired.");
  } catch (error) {
    notify(error.message);
  }
}

live.addEventListener("gateway", show);
showConnection(live);
live.prime(JSON.parse(document.getElementById("snapshot").textContent));
live.start();
