// Filters that apply while they are chosen, and live rows on demand. Also for the sessions.

import { number } from "./format.js";
import { Live, showConnection } from "./live.js";
import { localiseTimes, notify, root } from "./page.js";
import { RunTable } from "./runs.js";

const TYPING_MS = 350;

const form = document.getElementById("filters");
const results = document.getElementById("results");
let typing;

async function apply() {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const url = `${form.action}?${query}`;
  window.history.replaceState(null, "", url);
  for (const select of form.querySelectorAll("select")) select.toggleAttribute("data-set", Boolean(select.value));
  results.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(url, { headers: { "x-requested-with": "fetch" } });
    if (response.status === 401) location.reload();
    else if (!response.ok) notify((await response.json()).error);
    else if (`${form.action}?${new URLSearchParams([...new FormData(form)].filter(([, value]) => value))}` === url) {
      results.innerHTML = await response.text();
      window.htmx.process(results);
      localiseTimes(results);
    }
  } catch {
    notify("The gateway does not answer.");
  }
  results.removeAttribute("aria-busy");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  apply();
});
form.addEventListener("change", (event) => event.target.matches("select") && apply());
form.addEventListener("input", (event) => {
  if (!event.target.matches("[type=search]")) return;
  clearTimeout(typing);
  typing = setTimeout(apply, TYPING_MS);
});
form.addEventListener("click", (event) => {
  const clear = event.target.closest("[data-clear]");
  if (!clear) return;
  form.querySelector(`[type=hidden][name="${clear.dataset.clear}"]`).remove();
  clear.parentElement.remove();
  apply();
});

const toggle = document.getElementById("show-live");
if (toggle) {
  const live = new Live(root);
  const section = document.getElementById("live-section");
  const fresh = document.getElementById("new-requests");
  let ended = 0;
  showConnection(live);
  new RunTable(live, section);
  live.addEventListener("runs", (event) => {
    ended += event.detail.gone.filter((one) => one.status).length;
    fresh.hidden = !ended;
    fresh.textContent = `${number(ended)} ended since: show`;
  });
  fresh.addEventListener("click", () => {
    ended = 0;
    fresh.hidden = true;
    apply();
  });
  toggle.addEventListener("change", () => { section.hidden = !toggle.checked; });
  section.hidden = !toggle.checked;
  live.start();
}
