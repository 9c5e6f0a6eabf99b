// The line to the server: a snapshot, then ticks. Reconnects with back-off, says when it is stale, catches up by itself.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
const STALE_AFTER_MS = 7_000; // the server speaks every two seconds even when nothing happens
const WATCH_EVERY_MS = 1_000;

const RESTARTING = 4012; // its process is renewed or stopped: another one takes over
const SIGNED_OUT = 4401;
const FORBIDDEN = 4403;

const STATES = {
  connecting: "Connecting",
  live: "Live",
  stale: "Stale",
  offline: "Reconnecting",
  "signed-out": "Signed out",
};

/** Whether an engine in use has worker processes; older versions have only sdk. */
export function usesWorkers(queue) {
  return "sdk" in (queue.by_engine ?? { sdk: queue });
}

/** What the server has said so far. Events: `runs` {changed, gone}, `gateway`, `load`, `pulse`, `state`. */
export class Live extends EventTarget {
  constructor(root) {
    super();
    this.runs = new Map();
    this.hidden = 0;
    this.queue = { active: 0, waiting: 0, max: 0 };
    this.upstream = { state: "closed", failures: 0 };
    this.workers = [];
    this.processes = [];
    this.mcp = [];
    this.load = { active: [], waiting: [] };
    this.pulse = null;
    this.state = "connecting";
    this.skewMs = 0;
    this.messages = 0;
    this._root = root;
    this._seq = null;
    this._retryMs = FIRST_RETRY_MS;
    this._heardAt = 0;
  }

  /** The server's time, in Unix seconds. */
  now() {
    return (Date.now() + this.skewMs) / 1000;
  }

  /** Takes a snapshot that came with the page. */
  prime(snapshot) {
    this._take(snapshot);
    this._seq = null;
  }

  start() {
    this._connect();
    setInterval(() => this._watch(), WATCH_EVERY_MS);
    addEventListener("online", () => this._retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this._retryNow());
  }

  _connect() {
    clearTimeout(this._timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this._root.dataset.liveUrl}`);
    this._socket = socket;
    this._heardAt = Date.now();
    let opened = false;
    socket.addEventListener("open", () => { opened = true; });
    socket.addEventListener("message", (event) => socket === this._socket && this._hear(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => socket === this._socket && this._closed(event.code, opened));
  }

  async _closed(code, opened) {
    this._socket = null;
    if (code === SIGNED_OUT || code === FORBIDDEN || (!opened && (await this._signedOut()))) {
      this._setState("signed-out");
      return;
    }
    this._setState("offline");
    if (code === RESTARTING) this._retryMs = FIRST_RETRY_MS;
    const wait = this._retryMs * (0.75 + Math.random() / 2);
    this._retryMs = Math.min(LAST_RETRY_MS, this._retryMs * 2);
    this._timer = setTimeout(() => this._connect(), wait);
  }

  /** A refused socket does not say why. */
  async _signedOut() {
    try {
      const response = await fetch(this._root.dataset.loginUrl, { headers: { "x-requested-with": "fetch" } });
      return response.status === 401 || response.status === 403;
    } catch {
      return false;
    }
  }

  _retryNow() {
    if (this.state !== "offline" || this._socket) return;
    this._retryMs = FIRST_RETRY_MS;
    this._connect();
  }

  _watch() {
    if (!this._socket || Date.now() - this._heardAt < STALE_AFTER_MS) return;
    this._setState("stale");
    const socket = this._socket;
    this._socket = null; // what it still says is not listened to
    socket.close();
    this._closed(0, true);
  }

  _hear(message) {
    this._heardAt = Date.now();
    this.messages += 1;
    if (message.type === "snapshot") {
      this._retryMs = FIRST_RETRY_MS;
      this._take(message);
    } else if (this._seq !== null && message.seq > this._seq) {
      if (message.seq === this._seq + 1) this._apply(message);
      else this._socket.send('{"type":"catch_up"}');
    }
    this._setState("live");
  }

  _take(snapshot) {
    this._seq = snapshot.seq;
    const runs = new Map(snapshot.runs.map((run) => [run.id, run]));
    const gone = [...this.runs.keys()].filter((id) => !runs.has(id)).map((id) => ({ id, status: "", reason: "" }));
    this.runs = runs;
    this.workers = snapshot.workers;
    this.processes = snapshot.processes;
    this.mcp = snapshot.mcp ?? [];
    this.load = snapshot.load;
    this._common(snapshot);
    this._tell("runs", { changed: snapshot.runs, gone });
    this._tell("gateway");
    this._tell("load");
    if (snapshot.pulse) this._takePulse(snapshot.pulse);
  }

  _apply(tick) {
    this._seq = tick.seq;
    for (const run of tick.runs) this.runs.set(run.id, run);
    for (const { id } of tick.gone) this.runs.delete(id);
    if (tick.workers) this.workers = tick.workers;
    if (tick.processes) this.processes = tick.processes;
    if (tick.mcp) this.mcp = tick.mcp;
    this._common(tick);
    if (tick.runs.length || tick.gone.length) this._tell("runs", { changed: tick.runs, gone: tick.gone });
    this._tell("gateway");
    if (tick.pulse) this._takePulse(tick.pulse);
  }

  _common(message) {
    this.skewMs = message.at * 1000 - Date.now();
    this.queue = message.queue;
    this.upstream = message.upstream;
    this.hidden = message.hidden;
  }

  _takePulse(pulse) {
    this.pulse = pulse;
    this._tell("pulse");
  }

  _setState(state) {
    if (state === this.state) return;
    this.state = state;
    this._tell("state");
  }

  _tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** Shows the line's state in the page's header. */
export function showConnection(live) {
  const element = document.getElementById("connection");
  const text = element.querySelector("[data-text]");
  const show = () => {
    element.dataset.state = live.state;
    text.textContent = STATES[live.state];
    if (live.state === "signed-out") {
      const link = document.createElement("a");
      link.href = location.href;
      link.textContent = "sign in";
      text.append(" – ", link);
    }
    document.querySelector(".d").classList.toggle("d-stale-data", ["stale", "offline", "signed-out"].includes(live.state));
  };
  live.addEventListener("state", show);
  show();
}
