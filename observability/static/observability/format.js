// Numbers, durations and times as people read them; the exact value belongs into a title.

export const NOTHING = "–";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const exact = new Intl.DateTimeFormat(undefined, {
  dateStyle: "full", timeStyle: "long",
});

export const number = (value) => (value == null ? NOTHING : whole.format(value));

/** 1234567 → 1.2M */
export function short(value) {
  if (value == null) return NOTHING;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(1)}${unit}`;
  }
  return whole.format(value);
}

export function duration(ms) {
  if (ms == null) return NOTHING;
  if (ms < 0.05) return "0 ms";
  if (ms < 10 && !Number.isInteger(ms)) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return age(seconds);
}

/** Whole seconds, for what counts up in front of the reader. */
export function age(seconds) {
  const rest = Math.max(0, Math.floor(seconds));
  if (rest < 60) return `${rest} s`;
  if (rest < 3600) return `${Math.floor(rest / 60)} min ${rest % 60} s`;
  if (rest < 86400) return `${Math.floor(rest / 3600)} h ${Math.floor((rest % 3600) / 60)} min`;
  return `${Math.floor(rest / 86400)} d ${Math.floor((rest % 86400) / 3600)} h`;
}

export const ago = (seconds) => (seconds < 5 ? "just now" : `${age(seconds).split(" ").slice(0, 2).join(" ")} ago`);

export function usd(value) {
  if (value == null) return NOTHING;
  if (!value) return "$0.00";
  if (value < 0.00005) return "<$0.0001";
  return value >= 1 ? `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}` : `$${value.toFixed(4)}`;
}

export function bytes(value) {
  if (value == null) return NOTHING;
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${value} B`;
}

export const percent = (share) => (share == null ? NOTHING : `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)}%`);
export const words = (name) => String(name ?? "").replaceAll("_", " ");
export const shortId = (id) => (id.length <= 9 ? id : `…${id.slice(-8)}`);
export const clockTime = (date) => clock.format(date);
export const exactTime = (date) => `${exact.format(date)} (${date.toISOString()})`;

export function dateTime(date, now = new Date()) {
  return date.toDateString() === now.toDateString() ? clock.format(date) : dayAndClock.format(date);
}
