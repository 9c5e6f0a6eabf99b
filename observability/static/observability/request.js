// One request: while it runs, its figures move with the line, and the page reads itself again at each phase and step.

import { age, number, short } from "./format.js";
import { Live, showConnection } from "./live.js";
import { loadContent, update } from "./morph.js";
import { root } from "./page.js";
import { write } from "./runs.js";

const REREAD_MS = 2_000; // the bars grow while it runs
const END_TRIES_MS = [100, 400, 1_000, 2_000]; // its row is written within a quarter of a second

const detail = document.getElementById("detail");
const id = detail.dataset.id;
const isLive = () => detail.querySelector("[data-live]") !== null;
// For a moment it is neither: it has ended, and its row does not say so yet.
const isOver = () => detail.querySelector('[data-phase-chip][data-status="active"]') === null;

let reading = null;
let again = false;

/** Reads the page again; while that goes on, further calls become one more. */
function reread() {
  if (reading) {
    again = true;
    return reading;
  }
  reading = readOnce().finally(() => {
    reading = null;
    if (again) {
      again = false;
      reread();
    }
  });
  return reading;
}

async function readOnce() {
  try {
    const response = await fetch(location.pathname, { headers: { "x-requested-with": "fetch" } });
    if (response.ok) update(detail.firstElementChild, await response.text());
  } catch {
    // The line says so already.
  }
}

detail.addEventListener("toggle", (event) => {
  if (event.target.matches(".d-step[open]")) loadContent(event.target);
}, true);

function showAges(now) {
  const element = detail.querySelector("[data-live] [data-age]");
  if (!element) return;
  const received = Number(element.dataset.age);
  write(element, age(now - received));
  for (const step of detail.querySelectorAll("[data-since]")) write(step, age(now - received - Number(step.dataset.since) / 1000));
}

if (isLive()) {
  const live = new Live(root);
  let seen = "";
  let over = false;
  showConnection(live);
  live.addEventListener("runs", async (event) => {
    const run = live.runs.get(id);
    if (run) {
      const state = `${run.phase} ${run.agent?.changes ?? ""}`;
      if (seen && state !== seen) reread();
      seen = state;
      const put = (name, text) => detail.querySelector(name) && write(detail.querySelector(name), text);
      put("[data-chars]", short(run.chars));
      put("[data-rate]", number(run.rate));
      put("[data-events]", number(run.events));
    } else if (!over && (seen || event.detail.gone.some((one) => one.id === id))) {
      over = true;
      for (const wait of END_TRIES_MS) {
        await new Promise((resolve) => { setTimeout(resolve, wait); });
        await reread();
        if (isOver()) break;
      }
    }
  });
  setInterval(() => over || showAges(live.now()), 1_000);
  setInterval(() => over || document.hidden || reread(), REREAD_MS);
  live.start();
}
