// The usage by day and key.

import { asMoney, TimeChart } from "./charts.js";

const element = document.getElementById("usage-data");
if (element) {
  const { days, cost } = JSON.parse(element.textContent);
  const written = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
  const stepLabel = (value) => written.format(new Date(`${value}T00:00:00Z`));
  const chart = new TimeChart("usage", { kind: "bar", unit: asMoney, stepLabel });
  chart.show(days, cost.map((line, index) => ({ label: line.label, data: line.cost, color: `--chart-${index + 1}` })));
}
