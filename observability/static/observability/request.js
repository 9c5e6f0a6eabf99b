// One request: while it runs, its figures move with the line, and the page reads itself again at each phase and at the end.

import { age, number, short } from "./format.js";
import { Live, showConnection } from "./live.js";
import { localiseTimes, root } from "./page.js";
import { write } from "./runs.js";

const REREAD_MS = 2_000; // the bars grow while it runs
const END_TRIES_MS = [100, 400, 1_000, 2_000]; // its row is written within a quarter of a second

const detail = document.getElementById("detail");
const id = detail.dataset.id;
const isLive = () => detail.querySelector("[data-live]") !== null;
// For a moment it is neither: it has ended, and its row does not say so yet.
const isOver = () => detail.querySelector('[data-phase-chip][data-status="active"]') === null;

async function reread() {
  const response = await fetch(location.pathname, { headers: { "x-requested-with": "fetch" } });
  if (!response.ok) return;
  const open = [...detail.querySelectorAll("details")].map((element) => element.open);
  detail.innerHTML = await response.text();
  detail.querySelectorAll("details").forEach((element, index) => { element.open = open[index] ?? false; });
  localiseTimes(detail);
}

if (isLive()) {
  const live = new Live(root);
  let phase = "";
  let over = false;
  showConnection(live);
  live.addEventListener("runs", async (event) => {
    const run = live.runs.get(id);
    if (run) {
      if (phase && run.phase !== phase) reread().catch(() => {});
      phase = run.phase;
      const put = (name, text) => detail.querySelector(name) && write(detail.querySelector(name), text);
      put("[data-chars]", short(run.chars));
      put("[data-rate]", number(run.rate));
      put("[data-events]", number(run.events));
    } else if (!over && (phase || event.detail.gone.some((one) => one.id === id))) {
      over = true;
      for (const wait of END_TRIES_MS) {
        await new Promise((resolve) => { setTimeout(resolve, wait); });
        await reread().catch(() => {});
        if (isOver()) break;
      }
    }
  });
  setInterval(() => {
    const element = detail.querySelector("[data-live] [data-age]");
    if (element && !over) write(element, age(live.now() - Number(element.dataset.age)));
  }, 1_000);
  setInterval(() => over || document.hidden || reread().catch(() => {}), REREAD_MS);
  live.start();
}
