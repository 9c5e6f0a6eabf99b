// The log: filters as they are chosen, and new lines while it is followed.

import { localiseTimes, notify } from "./page.js";

const FOLLOW_EVERY_MS = 3_000;
const TYPING_MS = 350;

const form = document.getElementById("filters");
const results = document.getElementById("results");
const follow = document.getElementById("follow");
let typing;
let reading = false;

const query = () => new URLSearchParams([...new FormData(form)].filter(([, value]) => value)).toString();

async function read() {
  if (reading) return;
  reading = true;
  const asked = query();
  try {
    const response = await fetch(`${form.action}?${asked}`, { headers: { "x-requested-with": "fetch" } });
    if (response.status === 401) location.reload();
    else if (!response.ok) notify((await response.json()).error);
    else if (!results.querySelector("details[open]")) {
      results.innerHTML = await response.text();
      localiseTimes(results);
    }
  } catch {
    follow.checked = false;
    notify("The gateway does not answer; the log is not followed any more.");
  }
  reading = false;
  if (asked !== query()) read();
}

function apply() {
  window.history.replaceState(null, "", `${form.action}?${query()}`);
  read();
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
setInterval(() => follow.checked && !document.hidden && read(), FOLLOW_EVERY_MS);
