// Brings a rendered page up to date without losing what the reader has opened, focused or scrolled.

import { localiseTimes } from "./page.js";

const sources = new WeakMap(); // the HTML that an element was last made from

/** The element becomes like the HTML: its children, which have `data-part`, are exchanged where they differ. */
export function update(element, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild;
  element.toggleAttribute("data-live", fresh.hasAttribute("data-live"));
  reconcile(element, [...fresh.children], "part", (before, after) => {
    if (after.dataset.part === "steps" && before.querySelector(".d-steps") && after.querySelector(".d-steps")) {
      updateSteps(before, after);
      return before;
    }
    return exchange(before, after);
  });
  localiseTimes(element);
}

/** The parent gets exactly these children, by key; those that stay are not moved without need. */
function reconcile(parent, wanted, key, merge) {
  const known = new Map([...parent.children].map((child) => [child.dataset[key], child]));
  let previous = null;
  for (const after of wanted) {
    const before = known.get(after.dataset[key]);
    known.delete(after.dataset[key]);
    const source = after.outerHTML;
    const child = before && sources.get(before) === source ? before : before ? merge(before, after) : after;
    sources.set(child, source);
    const place = previous ? previous.nextElementSibling : parent.firstElementChild;
    if (child !== place) parent.insertBefore(child, place);
    previous = child;
  }
  for (const child of known.values()) child.remove();
}

function exchange(before, after) {
  const open = [...before.querySelectorAll("details")].map((details) => details.open);
  after.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? false; });
  before.replaceWith(after);
  return after;
}

function updateSteps(before, after) {
  for (const name of [".d-card-head", ".d-steps-head"]) before.querySelector(name).replaceWith(after.querySelector(name));
  const rest = after.querySelector(".d-steps + p");
  before.querySelector(".d-steps + p")?.remove();
  if (rest) before.append(rest);
  reconcile(before.querySelector(".d-steps"), [...after.querySelector(".d-steps").children], "key", updateStep);
}

/** The row changes within its `details`, which keeps the focus and what was loaded into it. */
function updateStep(before, after) {
  const [mine, theirs] = [before, after].map((row) => row.querySelector("details"));
  for (const name of ["summary", "[data-step-facts]"]) mine.querySelector(name).innerHTML = theirs.querySelector(name).innerHTML;
  const changed = mine.dataset.state !== theirs.dataset.state;
  mine.dataset.state = theirs.dataset.state;
  if (changed && mine.open) loadContent(mine);
  return before;
}

/** Shows the arguments and the result of a step. */
export async function loadContent(details) {
  const place = details.querySelector("[data-step-content]");
  if (!place) return;
  try {
    const response = await fetch(place.dataset.stepContent, { headers: { "x-requested-with": "fetch" } });
    if (response.ok) place.innerHTML = await response.text();
  } catch {
    place.textContent = "The gateway does not answer.";
  }
}
