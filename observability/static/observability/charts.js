// Charts with the theme's Chart.js: made once, then given new data. Colours come from the style sheet, and follow the theme.

import { dateTime, duration, number, short, usd } from "./format.js";

const { Chart } = window;

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const LEGEND_CHARS = 28;

/** The canvas cuts what does not fit, mid-letter; the tooltip has the name in full. */
function legendLabels(chart) {
  const labels = Chart.defaults.plugins.legend.labels.generateLabels(chart);
  return labels.map((label) => ({ ...label, text: label.text.length > LEGEND_CHARS ? `${label.text.slice(0, LEGEND_CHARS - 1)}…` : label.text }));
}

/** A value without neighbours has no line: a dot shows it. */
function aloneRadius({ dataset, dataIndex }) {
  return dataset.data[dataIndex - 1] == null && dataset.data[dataIndex + 1] == null ? 2 : 0;
}

/** A chart over steps of time. kind: `bar` (stacked) or `line`; unit: how a value is written. */
export class TimeChart {
  constructor(name, { kind, unit, stepLabel }) {
    this._canvas = document.querySelector(`[data-chart="${name}"]`);
    this._empty = document.querySelector(`[data-chart-empty="${name}"]`);
    this._kind = kind;
    this._unit = unit;
    this._stepLabel = stepLabel;
    this._sets = [];
    this._chart = new Chart(this._canvas, { type: kind, data: { labels: [], datasets: [] }, options: this._options() });
    new MutationObserver(() => this._repaint()).observe(document.documentElement, { attributeFilter: ["class"] });
  }

  /** steps: labels' values; sets: [{label, data, color}], color the name of a custom property. */
  show(steps, sets) {
    this._sets = sets;
    const empty = !sets.some((set) => set.data.some((value) => value));
    this._empty.hidden = !empty;
    this._canvas.style.visibility = empty ? "hidden" : "";
    this._chart.data.labels = steps;
    const kept = this._chart.data.datasets;
    this._chart.data.datasets = sets.map((set, index) => Object.assign(kept[index] ?? {}, this._dataset(set)));
    this._chart.update("none");
  }

  _dataset({ label, data, color }) {
    const tone = colour(color);
    const bar = { backgroundColor: tone, borderWidth: 0, borderRadius: 2, maxBarThickness: 28 };
    const line = {
      borderColor: tone, backgroundColor: tone, borderWidth: 2, pointRadius: aloneRadius, pointHoverRadius: 4, tension: 0.25,
    };
    return { label, data, ...(this._kind === "bar" ? bar : line) };
  }

  _options() {
    const stacked = this._kind === "bar";
    const text = colour("--chart-text");
    const write = this._unit;
    const stepLabel = (value, axis) => this._stepLabel(value, axis);
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { display: true, position: "bottom", align: "start", labels: { generateLabels: legendLabels, color: text, boxWidth: 10, boxHeight: 10, useBorderRadius: true, borderRadius: 3, padding: 12, font: { family: "Inter", size: 12 } } },
        tooltip: {
          filter: (item) => item.parsed.y !== null && (this._kind !== "bar" || item.parsed.y !== 0),
          callbacks: {
            title: (items) => (items.length ? stepLabel(items[0].label) : ""),
            label: (item) => ` ${item.dataset.label}: ${write(item.parsed.y)}`,
          },
        },
      },
      scales: {
        x: {
          stacked,
          border: { display: false },
          grid: { display: false },
          ticks: { color: text, maxRotation: 0, autoSkip: true, autoSkipPadding: 24, font: { family: "Inter", size: 11 }, callback(value) { return stepLabel(this.getLabelForValue(value), true); } },
        },
        y: {
          stacked,
          beginAtZero: true,
          border: { display: false },
          grid: { color: colour("--chart-grid"), drawTicks: false },
          ticks: { color: text, padding: 8, maxTicksLimit: 6, font: { family: "Inter", size: 11 }, callback: (value, _, ticks) => write(value, true, ticks) },
        },
      },
    };
  }

  _repaint() {
    this._chart.options = this._options();
    this._chart.data.datasets.forEach((set, index) => Object.assign(set, this._dataset(this._sets[index])));
    this._chart.update("none");
  }
}

/** Without zeros that say nothing: 60.0k → 60k, 1.00 s → 1 s, 1 min 0 s → 1 min. */
const plain = (text) => text.replace(/ 0 s$/, "").replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

export const asCount = (value, axis) => (axis && !Number.isInteger(value) ? "" : axis ? plain(short(value)) : number(value));
export const asDuration = (value, axis) => (!value ? "0" : axis ? plain(duration(value)) : duration(value));

/** On an axis all have as many decimals as the one that needs most. */
export function asMoney(value, axis, ticks) {
  if (!axis) return usd(value);
  if (value >= 1000) return `$${plain(short(value))}`;
  const decimals = Math.max(...ticks.map((tick) => String(Number(tick.value.toPrecision(3))).split(".")[1]?.length ?? 0));
  return value ? `$${value.toFixed(Math.min(decimals, 6))}` : "$0";
}

/** How a step is labelled: its time, with the day where steps are long. */
export function stepLabels(stepS) {
  const day = { month: "short", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const style = stepS >= 6 * 3600 ? { ...day, ...time } : stepS < 60 ? { ...time, second: "2-digit" } : time;
  const onAxis = new Intl.DateTimeFormat(undefined, style);
  return (value, axis) => {
    const date = new Date(Number(value) * 1000);
    return axis ? onAxis.format(date) : `${dateTime(date)} – ${dateTime(new Date(date.getTime() + stepS * 1000))}`;
  };
}
