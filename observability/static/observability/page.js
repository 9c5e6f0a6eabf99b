// What every page has: times in the browser's zone, copying, forms that are sent once, the dialog and the notice.

import { ago, clockTime, dateTime, exactTime } from "./format.js";

const AGO_EVERY_MS = 10_000;

export const root = document.querySelector(".d");
export const mayChange = root.hasAttribute("data-may-change");

/** Puts times into the browser's zone; the exact one is the title. */
export function localiseTimes(within = document) {
  const now = new Date();
  for (const element of within.querySelectorAll("time[data-moment]")) {
    const date = new Date(element.dateTime);
    const style = element.dataset.moment;
    element.title = exactTime(date);
    element.textContent =
      style === "ago" ? ago((now - date) / 1000) : style === "clock" ? clockTime(date) : dateTime(date, now);
  }
}

let noticeTimer;

/** Says something for a moment. */
export function notify(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { notice.hidden = true; }, 4000);
}

/** Whether the operator says yes. */
export function confirm({ title, message, yes }) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("[data-title]").textContent = title;
  dialog.querySelector("[data-message]").textContent = message;
  dialog.querySelector("[data-yes]").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** POSTs with the page's CSRF token; throws with the server's words where it refuses. */
export async function post(url) {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const response = await fetch(url, {
    method: "POST",
    headers: { "x-csrftoken": token, "x-requested-with": "fetch" },
  });
  if (response.ok) return;
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `The gateway answered ${response.status}.`);
}

/** Asks, and cancels the request. */
export async function cancelRun(id, button) {
  const sure = await confirm({
    title: "Cancel this request?",
    message: `${id} ends now, and its client gets an error.`,
    yes: "Cancel the request",
  });
  if (!sure) return;
  button.disabled = true;
  try {
    await post(`/dashboard/requests/${encodeURIComponent(id)}/cancel`);
    notify("The request is being cancelled.");
  } catch (error) {
    button.disabled = false;
    notify(error.message);
  }
}

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    try {
      await navigator.clipboard.writeText(copy.dataset.copy);
      notify("Copied.");
    } catch {
      notify("The browser does not allow copying here.");
    }
  }
  const cancel = event.target.closest("[data-cancel]");
  if (cancel) await cancelRun(cancel.dataset.cancel, cancel);
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-once]")) event.target.querySelector("button[type=submit]").disabled = true;
});

document.addEventListener("htmx:afterSwap", (event) => localiseTimes(event.target.parentElement ?? document));

localiseTimes();
setInterval(() => localiseTimes(), AGO_EVERY_MS);
