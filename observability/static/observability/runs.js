// The live table: a row for each request that waits or runs. Rows are made once, and only what changes is written.

import { age, duration, exactTime, number, shortId, words } from "./format.js";
import { mayChange, root } from "./page.js";

const FAREWELL_MS = 1_500;
const AGES_EVERY_MS = 1_000;

const PHASES = {
  received: "received",
  queued: "queued",
  admitted: "waiting for worker",
  worker_ready: "at upstream",
  first_event: "started",
  streaming: "streaming",
};

export class RunTable {
  constructor(live, within = document) {
    this._live = live;
    this._body = within.querySelector("[data-live-rows]");
    this._empty = within.querySelector("[data-live-empty]");
    this._count = document.querySelector("[data-live-count]");
    this._rows = new Map();
    live.addEventListener("runs", (event) => this._update(event.detail));
    live.addEventListener("gateway", () => this._showCount());
    setInterval(() => this._showAges(), AGES_EVERY_MS);
    this._update({ changed: [...live.runs.values()], gone: [] });
  }

  _update({ changed, gone }) {
    for (const run of changed) this._show(run);
    for (const one of gone) this._farewell(one);
    this._showPlaces();
    this._showAges();
    this._showEmpty();
    this._showCount();
  }

  _show(run) {
    let row = this._rows.get(run.id);
    if (!row || row.element.dataset.gone !== undefined) {
      row?.element.remove();
      row = newRow(run);
      this._rows.set(run.id, row);
      this._insert(row, run);
    } else if ((row.run.phase === "queued") !== (run.phase === "queued")) {
      this._insert(row, run); // into the line, or from it up to those that run
    }
    row.run = run;
    const { cells } = row;
    write(cells.phase, PHASES[run.phase] ?? words(run.phase));
    cells.phase.dataset.phase = run.phase;
    write(cells.first, duration(run.ttft_ms));
    write(cells.output, run.chars ? `${number(run.chars)} chars` : "–");
    write(cells.rate, run.rate == null ? "–" : `${number(run.rate)} chars/s`);
    const where = this._live.processes.length > 1 && run.process;
    const notes = [where, run.stalls && `${run.stalls} stalls`, run.retries && `${run.retries} retries`].filter(Boolean);
    write(cells.notes, notes.join(", "));
  }

  /** Running ones before queued ones, each by age; those in the line by when they joined it. */
  _insert(row, run) {
    const queued = run.phase === "queued";
    const since = (one) => (queued ? one.queued ?? one.received : one.received);
    for (const other of this._body.children) {
      const theirs = this._rows.get(other.dataset.run)?.run;
      if (!theirs || other === row.element) continue;
      const theyQueue = theirs.phase === "queued";
      if (queued === theyQueue ? since(theirs) > since(run) : theyQueue) {
        this._body.insertBefore(row.element, other);
        return;
      }
    }
    this._body.append(row.element);
  }

  _farewell({ id, status, reason }) {
    const row = this._rows.get(id);
    if (!row) return;
    const { element, cells } = row;
    if (!status) {
      this._remove(id, element);
      return;
    }
    element.dataset.gone = "";
    cells.phase.dataset.status = status;
    delete cells.phase.dataset.phase;
    write(cells.phase, words(reason || status));
    cells.cancel?.remove();
    setTimeout(() => this._remove(id, element), FAREWELL_MS);
  }

  _remove(id, element) {
    element.remove();
    if (this._rows.get(id)?.element === element) this._rows.delete(id);
    this._showEmpty();
  }

  /** The place in the line of its process, by arrival; priorities and the keys' turns may change it. */
  _showPlaces() {
    const waiting = [...this._live.runs.values()].filter((run) => run.phase === "queued");
    waiting.sort((a, b) => (a.queued ?? a.received) - (b.queued ?? b.received));
    const lengths = new Map();
    for (const run of waiting) {
      const place = (lengths.get(run.process) ?? 0) + 1;
      lengths.set(run.process, place);
      const cell = this._rows.get(run.id)?.cells.phase;
      if (cell) write(cell, `queued, ${place} in line`);
    }
  }

  _showAges() {
    const now = this._live.now();
    for (const { run, element, cells } of this._rows.values()) {
      if (element.dataset.gone === undefined) write(cells.age, age(now - run.received));
    }
  }

  _showEmpty() {
    this._empty.hidden = this._rows.size > 0;
  }

  _showCount() {
    if (!this._count) return;
    const { active, waiting, max } = this._live.queue;
    const more = this._live.hidden ? `, ${number(this._live.hidden)} not shown` : "";
    write(this._count, `${number(active)} of ${number(max)} slots, ${number(waiting)} queued${more}`);
  }
}

function newRow(run) {
  const element = document.createElement("tr");
  element.dataset.run = run.id;
  const link = make("a", { className: "d-id", textContent: shortId(run.id), title: run.id });
  link.href = `${root.dataset.requestsUrl}/${encodeURIComponent(run.id)}`;
  const phase = make("span", { className: "d-chip" });
  const notes = make("span", { className: "d-muted d-wide" });
  const ageCell = make("td", { className: "d-num", title: `received ${exactTime(new Date(run.received * 1000))}` });
  const first = make("td", { className: "d-num d-wide" });
  const output = make("td", { className: "d-num d-wide" });
  const rate = make("td", { className: "d-num d-wide" });
  const last = make("td", { className: "d-num" });
  let cancel;
  if (mayChange) {
    cancel = make("button", { type: "button", className: "d-button d-button-danger d-button-small", textContent: "Cancel" });
    cancel.dataset.cancel = run.id;
    cancel.setAttribute("aria-label", `Cancel request ${run.id}`);
    last.append(cancel);
  }
  element.append(
    make("td", {}, link, make("span", { className: "d-narrow d-muted", textContent: `${run.key} · ${run.model}` })),
    make("td", { className: "d-wide d-key", textContent: run.key || "–", title: run.key }),
    make("td", { className: "d-wide", textContent: run.model }),
    make("td", {}, phase, " ", notes),
    ageCell, first, output, rate, last,
  );
  return { run, element, cells: { phase, notes, age: ageCell, first, output, rate, cancel } };
}

export function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
