// A new key's secret is shown once, in a message: a button copies it.

document.addEventListener("DOMContentLoaded", () => {
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
});
