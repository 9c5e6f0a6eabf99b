// The overview: figures, charts, what is going on, what went wrong last.

import { AgentTable } from "./agents.js";
import { asCount, asDuration, asMoney, stepLabels, TimeChart } from "./charts.js";
import { ago, duration, exactTime, number, percent, short, shortId, usd, words } from "./format.js";
import { Live, showConnection, usesWorkers } from "./live.js";
import { root } from "./page.js";
import { make, RunTable, write } from "./runs.js";
import { shares, spark } from "./spark.js";

const HISTORY = 60;
const HISTORY_EVERY_MS = 2_000; // as the server does
const FEED_EVERY_MS = 5_000;
const BAD_ERROR_RATE = 0.2;
const WARN_ERROR_RATE = 0.05;

const parsed = (id) => JSON.parse(document.getElementById(id).textContent);
const live = new Live(root);

// Figures

const tile = (name) => {
  const element = document.querySelector(`[data-tile="${name}"]`);
  const part = (key) => element.querySelector(`[data-${key}]`);
  return { element, value: part("value"), extra: part("extra"), unit: part("unit"), spark: part("spark") };
};
const tiles = Object.fromEntries(
  ["per_minute", "error_rate", "ttft", "running", "queued", "workers", "tokens", "cost"].map((name) => [name, tile(name)]),
);
let history = { running: [], queued: [] };

function showPulse() {
  const { tiles: figures, sparks, errors } = live.pulse;
  write(tiles.per_minute.value, number(figures.per_minute));
  write(tiles.error_rate.value, figures.error_rate == null ? "–" : percent(figures.error_rate));
  tiles.error_rate.element.dataset.level = level(figures.error_rate);
  write(tiles.ttft.value, duration(figures.ttft_p50));
  write(tiles.ttft.extra, figures.ttft_p95 == null ? "" : `p95 ${duration(figures.ttft_p95)}`);
  write(tiles.tokens.value, short(figures.tokens_in + figures.tokens_out));
  write(tiles.tokens.extra, `${short(figures.tokens_in)} in, ${short(figures.tokens_out)} out`);
  write(tiles.cost.value, usd(figures.cost) + (figures.unpriced ? " +" : ""));
  const unpriced = figures.unpriced ? `, ${short(figures.unpriced)} not fully priced` : "";
  write(tiles.cost.extra, `${short(figures.requests_today)} requests${unpriced}`);
  spark(tiles.per_minute.spark, [sparks.requests]);
  spark(tiles.error_rate.spark, [sparks.errors]);
  spark(tiles.ttft.spark, [sparks.p50, sparks.p95]);
  spark(tiles.tokens.spark, [sparks.tokens]);
  spark(tiles.cost.spark, [sparks.cost]);
  showFeed(errors);
  showHealth();
}

function level(rate) {
  return rate >= BAD_ERROR_RATE ? "bad" : rate >= WARN_ERROR_RATE ? "warn" : "ok";
}

function showGateway() {
  const { active, waiting, max } = live.queue;
  write(tiles.running.value, number(active));
  write(tiles.running.extra, `of ${number(max)}`);
  write(tiles.queued.value, number(waiting));
  tiles.queued.element.dataset.level = waiting > max ? "warn" : "ok";
  const states = {};
  for (const worker of live.workers) states[worker.state] = (states[worker.state] ?? 0) + 1;
  write(tiles.workers.value, number(live.workers.length));
  shares(tiles.workers.spark, states);
  const counts = Object.entries(states).map(([state, count]) => `${count} ${words(state)}`).join(", ");
  write(tiles.workers.extra, counts || (usesWorkers(live.queue) ? "" : "the http engine needs none"));
  showHealth();
}

/** What the server remembers: from before this page was opened, or while it was away. */
function recall() {
  history = { running: [...live.load.active], queued: [...live.load.waiting] };
  remember();
}

function remember() {
  history.running.push(live.queue.active);
  history.queued.push(live.queue.waiting);
  for (const [name, values] of Object.entries(history)) {
    if (values.length > HISTORY) values.shift();
    // Of one scale from the first look on: a young gateway has a short line, at the end.
    spark(tiles[name].spark, [[...Array(HISTORY - values.length).fill(null), ...values]]);
  }
}

// Health

const health = document.getElementById("health");

function showHealth() {
  const [state, text] = judge();
  health.dataset.level = state;
  write(health.querySelector("[data-text]"), text);
  write(health.querySelector("[data-icon]"), { good: "check_circle", warn: "warning", bad: "error" }[state]);
}

function judge() {
  const { active, waiting, max } = live.queue;
  const rate = live.pulse?.tiles.error_rate ?? 0;
  if (usesWorkers(live.queue) && !live.workers.some((worker) => ["idle", "busy"].includes(worker.state))) return ["bad", "No worker is ready: requests cannot be answered."];
  if (live.upstream.state !== "closed") return ["bad", `The upstream has failed ${number(live.upstream.failures)} times in a row: requests are refused until one gets through.`];
  if (rate >= BAD_ERROR_RATE) return ["bad", `${percent(rate)} of the requests of the last five minutes failed.`];
  if (rate >= WARN_ERROR_RATE) return ["warn", `${percent(rate)} of the requests of the last five minutes failed.`];
  if (waiting > max) return ["warn", `${number(waiting)} requests wait for ${number(max)} slots.`];
  const stalled = [...live.runs.values()].filter((run) => run.stalls).length;
  if (stalled) return ["warn", `${number(stalled)} running requests have heard nothing from the upstream for half a minute.`];
  return ["good", active ? `All is well: ${number(active)} running, ${number(waiting)} queued.` : "All is well. The gateway is idle and ready."];
}

// Feed

const feed = document.getElementById("feed");
const feedEmpty = document.getElementById("feed-empty");

function showFeed(errors) {
  feed.hidden = !errors.length;
  feedEmpty.hidden = errors.length > 0;
  const known = new Map([...feed.children].map((item) => [item.dataset.id, item]));
  feed.replaceChildren(...errors.map((error) => known.get(error.id) ?? feedItem(error)));
  showAges();
}

function feedItem(error) {
  const date = new Date(error.at * 1000);
  const link = make("a", { className: "d-id", textContent: shortId(error.id), title: error.id });
  link.href = `${root.dataset.requestsUrl}/${encodeURIComponent(error.id)}`;
  const kind = make("span", { className: "d-chip", textContent: words(error.type) });
  kind.dataset.status = "error";
  const when = make("time", { className: "d-muted", dateTime: date.toISOString(), title: exactTime(date) });
  when.dataset.at = error.at;
  const message = make("p", { textContent: error.message || "No message.", title: error.message });
  const about = [`after ${words(error.phase)}`, error.upstream && `upstream ${error.upstream}`, error.key, error.model];
  const item = make("li", {}, make("span", {}, kind, " ", link), message, make("span", { className: "d-muted", textContent: about.filter(Boolean).join(" · ") }), when);
  item.dataset.id = error.id;
  return item;
}

function showAges() {
  for (const when of feed.querySelectorAll("time")) write(when, ago(live.now() - Number(when.dataset.at)));
}

// Charts

let stepS = 60;
let costStepS = 60;
const stepLabel = (value, axis) => stepLabels(stepS)(value, axis);
const costLabel = (value, axis) => stepLabels(costStepS)(value, axis);
const charts = {
  outcomes: new TimeChart("outcomes", { kind: "bar", unit: asCount, stepLabel }),
  ttft: new TimeChart("ttft", { kind: "line", unit: asDuration, stepLabel }),
  duration: new TimeChart("duration", { kind: "line", unit: asDuration, stepLabel }),
  tokens: new TimeChart("tokens", { kind: "bar", unit: asCount, stepLabel }),
  cost: new TimeChart("cost", { kind: "bar", unit: asMoney, stepLabel: costLabel }),
};
let window_ = "1h";
let chartsTimer;

function showCharts(data) {
  stepS = data.step_s;
  costStepS = data.cost_steps.length > 1 ? data.cost_steps[1] - data.cost_steps[0] : 60;
  const sets = (lines, color) => Object.entries(lines).map(([label, values], index) => ({ label, data: values, color: color(label, index) }));
  charts.outcomes.show(data.steps, sets(data.outcomes, (label) => `--chart-${label}`));
  charts.ttft.show(data.steps, sets(data.ttft, (_, index) => `--chart-${index + 1}`));
  charts.duration.show(data.steps, sets(data.duration, (_, index) => `--chart-${index + 1}`));
  charts.tokens.show(data.steps, sets(data.tokens, (_, index) => `--chart-${index + 1}`));
  charts.cost.show(data.cost_steps, data.cost.map((line, index) => ({ label: line.label, data: line.cost, color: `--chart-${index + 1}` })));
  clearTimeout(chartsTimer);
  chartsTimer = setTimeout(readCharts, data.refresh_s * 1000);
}

async function readCharts() {
  const asked = window_;
  try {
    const response = await fetch(`/dashboard/charts?window=${asked}`, { headers: { "x-requested-with": "fetch" } });
    const data = response.ok ? await response.json() : null;
    if (data && asked === window_) {
      showCharts(data);
      return;
    }
  } catch {
    // The line says so already; the charts try again.
  }
  if (asked === window_) {
    clearTimeout(chartsTimer);
    chartsTimer = setTimeout(readCharts, 10_000);
  }
}

document.getElementById("windows").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  window_ = button.dataset.window;
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
  history_(window_);
  readCharts();
});

/** The window belongs to the address, so that a reload or a link keeps it. */
function history_(name) {
  const url = new URL(location.href);
  url.searchParams.set("window", name);
  window.history.replaceState(null, "", url);
}

live.addEventListener("pulse", showPulse);
live.addEventListener("gateway", showGateway);
live.addEventListener("load", recall);
showConnection(live);
live.prime(parsed("snapshot"));
new RunTable(live);
new AgentTable(live);
const first = parsed("charts-data");
window_ = first.window;
showCharts(first);
setInterval(remember, HISTORY_EVERY_MS);
setInterval(showAges, FEED_EVERY_MS);
live.start();
