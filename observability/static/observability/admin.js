// The theme's own pages: a new key's secret can be copied, times are in the browser's zone, and what the theme leaves
// without a name or out of the keyboard's reach has one.

const TIME = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}) UTC$/;

function addCopyButtons() {
  for (const code of document.querySelectorAll("#main li code")) {
    if (!code.textContent.startsWith("sk-")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "secret-copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the secret");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    });
    code.after(button);
  }
}

function localiseTimes(root) {
  const style = { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const shown = new Intl.DateTimeFormat(undefined, style);
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    if (TIME.test(texts.currentNode.data.trim())) found.push(texts.currentNode);
  }
  for (const text of found) {
    const [, day, clock] = TIME.exec(text.data.trim());
    const time = document.createElement("time");
    time.dateTime = `${day}T${clock}Z`;
    time.title = text.data.trim();
    time.textContent = shown.format(new Date(time.dateTime));
    text.replaceWith(time);
  }
}

function nameLandmarks() {
  (document.getElementById("main") ?? document.querySelector("body.login #page"))?.setAttribute("role", "main");
  for (const title of document.querySelectorAll("#changelist-filter h3")) title.setAttribute("aria-level", "2");
  for (const box of document.querySelectorAll("[data-simplebar]")) {
    const name = box.closest("#nav-sidebar") ? "Pages" : box.querySelector("#result_list") ? "The list" : "Choices";
    box.setAttribute("data-simplebar-aria-label", name);
  }
}

/** The theme's buttons that open and close the navigation are mere icons. */
function mendToggles() {
  for (const icon of document.querySelectorAll("#header-inner .material-symbols-outlined")) {
    if (icon.textContent.trim() !== "dock_to_right") continue;
    icon.tabIndex = 0;
    icon.setAttribute("role", "button");
    icon.setAttribute("aria-label", "Navigation");
    icon.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      icon.click();
    });
  }
}

/** Fields that scripts of the theme have made. */
function nameFields() {
  for (const box of document.querySelectorAll(".select2-selection[role=combobox]")) {
    const select = box.closest(".select2")?.previousElementSibling;
    const label = select && document.querySelector(`label[for="${select.id}"]`);
    if (!label) continue;
    for (const element of [box, box.querySelector("[role=textbox]")]) element?.setAttribute("aria-label", label.textContent.trim());
  }
  for (const hint of document.querySelectorAll(".help-tooltip[aria-label]:not([role])")) hint.setAttribute("role", "img");
}

document.addEventListener("DOMContentLoaded", () => {
  nameLandmarks();
  mendToggles();
  addCopyButtons();
  const root = document.getElementById("content");
  if (root) localiseTimes(root);
});
addEventListener("load", () => setTimeout(nameFields));
