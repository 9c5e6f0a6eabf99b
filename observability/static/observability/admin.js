// The theme's own pages: a new key's secret can be copied, and times are in the browser's zone.

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

document.addEventListener("DOMContentLoaded", () => {
  addCopyButtons();
  const root = document.getElementById("content");
  if (root) localiseTimes(root);
});
