"""All settings of the gateway, each declared once.

Settings of the Django site are in `proxy_site/conf.py`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apiproxy.conf.checks import boolean, choice, csv, integer, mapping, network, path, script_origin, string
from apiproxy.conf.groups import (
    AllowLists,
    BreakerSettings,
    Credential,
    JailSettings,
    KeyDefaults,
    RecentAnswerSettings,
    SessionSettings,
)
from apiproxy.conf.setting import Derived, group, setting
from apiproxy.core.turns import ENGINES, EngineName

MAX_PROCESSES = 64

_DAY_MS = 86_400_000
_MS = "milliseconds"
_ORIGINS = csv(
    script_origin(),
    allowed="origins such as https://example.org, https://*.example.org, tauri://localhost, vscode-webview://* or "
    "null, separated by commas",
)


def half_of_the_cores() -> int:
    """Half of the usable cores, at least 1; the rest is for this process and streaming runs."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Everything an operator can set, plus values determined at startup.

    demo_refusal: why `serve` must not start without a credential; empty where it may.
    seat: index assigned by the supervisor; None when unsupervised. Not configurable.
    """

    host: str = setting(
        "127.0.0.1",
        string("an address of this machine, such as 127.0.0.1 or 0.0.0.0"),
        "Address to listen on. With a loopback address the gateway listens on both 127.0.0.1 and ::1; `::` also "
        "accepts IPv4.",
    )
    port: int = setting(3456, integer(0, 65_535), "Port to listen on; 0 picks a free one.")
    processes: int = setting(
        1,
        integer(1, MAX_PROCESSES),
        "Server processes sharing the address, as with `serve --processes`; each has its own slots and workers.",
    )
    watchdog_ms: int = setting(
        10_000,
        integer(0, _DAY_MS, unit=_MS),
        "A server process whose event loop is blocked for this long (whole seconds, at least 3) is killed and "
        "replaced. 0: never.",
    )
    node: str = setting(
        "",
        string("a name of at most 64 characters, different on each machine"),
        "This machine's name in the dashboard and in traces.",
        note="the host name",
    )
    cors_origins: tuple[str, ...] = setting(
        (), _ORIGINS, "Origins whose scripts may call the API from a browser. None: CORS is disabled."
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        csv(network(), allowed="IP addresses or networks separated by commas"),
        "Reverse proxies whose `X-Forwarded-For` is trusted.",
    )
    api_key: str | None = setting(
        None, string(), "API key for clients, in addition to those in the database; its name is `env`.", secret=True
    )
    state_dir: Path = setting(
        Derived("`state` in the folder of manage.py", lambda given: given["base_dir"] / "state"),
        path(),
        "Directory for everything the gateway writes: database, signing key, logs, worker files.",
    )
    log_dir: Path = setting(
        Derived("`logs` in the state folder", lambda given: given["state_dir"] / "logs"),
        path(),
        "Directory of the log files.",
    )
    debug: bool = setting(
        False,
        boolean(),
        "Log everything, overriding the log level. Never enables Django's debug pages, which show secrets.",
    )
    log_level: str = setting("INFO", choice(("DEBUG", "INFO", "WARNING", "ERROR")), "Minimum severity of log messages.")
    trace_retention_days: int = setting(
        30, integer(1, 36_500, unit="days"), "How long traces and error dumps are kept."
    )
    engine: EngineName = setting(
        "sdk",
        choice(ENGINES),
        "Engine of models without an engine in the catalogue: `sdk` answers with CLI processes, `http` sends the "
        "request directly to the upstream's Messages API (API keys and gateway tokens only).",
    )
    max_concurrent: int = setting(
        5,
        integer(1, 1_000),
        "Maximum concurrent runs of the sdk engine per process. Each uses its own CLI process (200–380 MB of memory).",
    )
    http_max_concurrent: int = setting(
        1_000, integer(1, 100_000), "Maximum concurrent runs of the http engine per process."
    )
    agent_max_concurrent: int = setting(
        4,
        integer(1, 1_000),
        "Maximum concurrent runs of agents per process. Each uses a CLI process of its own (100–300 MB of memory).",
    )
    jail: JailSettings = group(JailSettings, "AGENT_")
    max_starting: int = setting(
        Derived("half of the cores, at least 1", lambda _: half_of_the_cores()),
        integer(1, 1_000),
        "Maximum runs starting concurrently (each uses a core for 20–30 ms). At most twice this many runs may be "
        "CPU-busy.",
    )
    queue_max: int = setting(
        100,
        integer(0, 100_000),
        "Maximum runs waiting for a slot per process. Beyond it, the newest run of the key with the most waiting runs "
        "is rejected with 529 (docs/operations.md).",
    )
    queue_timeout_ms: int = setting(30_000, integer(1, _DAY_MS, unit=_MS), "Maximum wait for a slot; then 529.")
    stall_timeout_ms: int = setting(
        120_000,
        integer(1, _DAY_MS, unit=_MS),
        "Maximum time without output from the upstream during a run; then 504. Its `ping` events do not count "
        "(docs/operations.md).",
    )
    max_duration_ms: int = setting(3_600_000, integer(1, _DAY_MS, unit=_MS), "Maximum duration of a run; then 504.")
    max_output_chars: int = setting(
        500_000,
        integer(1, 1_000_000_000, unit="characters"),
        "Maximum length of a response; a longer run is ended with an error.",
    )
    first_byte_ms: int = setting(
        40_000,
        integer(0, _DAY_MS, unit=_MS),
        "How long a stream waits for its first event before it begins with a `ping`; an error after that is an event "
        "in the stream and no status. Set it above the queue timeout, and below the read timeout of a load balancer. "
        "0: as long as it takes.",
    )
    heartbeat_ms: int = setting(15_000, integer(10, _DAY_MS, unit=_MS), "Interval between `ping` events in a stream.")
    upstream_retries: int = setting(
        1,
        integer(0, 10),
        "Retries after a lost connection, a 500 or a 529 of the upstream, before the first byte is sent.",
    )
    drain_timeout_ms: int = setting(
        30_000, integer(0, _DAY_MS, unit=_MS), "How long active runs may continue after the gateway is asked to stop."
    )
    warm_workers: int = setting(2, integer(0, 1_000), "Idle CLI processes kept ready, limited by free slots.")
    worker_max_turns: int = setting(
        2_000,
        integer(1, 1_000_000),
        "Turns after which a CLI process is replaced; up to 10 % fewer, to stagger replacements.",
    )
    worker_max_rss_mb: int = setting(
        600, integer(100, 1_000_000, unit="MB"), "Resident memory above which a CLI process is replaced."
    )
    request_timeout_ms: int = setting(
        30_000,
        integer(100, _DAY_MS, unit=_MS),
        "How long a client may take to send its request, plus one second for each 64 KB of body; then 408.",
    )
    body_memory_mb: int = setting(
        512,
        integer(64, 1_048_576, unit="megabytes"),
        "Memory limit per process for request bodies, from request headers to the end of the response. One key may use "
        "half; beyond its share requests get 429.",
    )
    breaker: BreakerSettings = group(BreakerSettings, "BREAKER_")
    model_aliases: dict[str, str] = setting(
        {},
        mapping(allowed="alias=model pairs separated by commas, each alias once"),
        "Model aliases in addition to `opus`, `sonnet` and `haiku`.",
    )
    strict: bool = setting(
        False,
        boolean(),
        "Reject unsupported OpenAI fields instead of listing them in `x-proxy-ignored`.",
    )
    allow_unpriced: bool = setting(
        False,
        boolean(),
        "Let keys with a budget use models, speeds, regions and server tools without a price. Only the known part of "
        "their cost counts against the budget.",
    )
    drop_betas: tuple[str, ...] = setting(
        (),
        csv(string(), allowed="beta names separated by commas; * for any characters"),
        "Names removed from a client's `anthropic-beta`, such as those that a cloud platform rejects.",
    )
    allowed: AllowLists = group(AllowLists, "ALLOWED_")
    key_defaults: KeyDefaults = group(KeyDefaults, "KEY_")
    sessions: SessionSettings = group(SessionSettings, "SESSION_")
    recent_answers: RecentAnswerSettings = group(RecentAnswerSettings, "RECENT_ANSWERS_")
    credential: Credential
    demo_refusal: str = ""
    seat: int | None = None

    def slots(self, engine: EngineName) -> int:
        """Maximum concurrent runs of an engine in one process."""
        match engine:
            case "sdk":
                return self.max_concurrent
            case "http":
                return self.http_max_concurrent
            case "agents":
                return self.agent_max_concurrent


def metrics_dir(state_dir: Path, supervisor_pid: int) -> Path:
    """Directory in which the processes of a supervisor share their counters.

    Named for `engines.sdk.launch.sweep`.
    """
    return state_dir / "metrics" / f"{supervisor_pid}-counts"


def gateway_settings() -> GatewaySettings:
    """The settings in force (Django's `settings.GATEWAY`)."""
    value = settings.GATEWAY
    assert isinstance(value, GatewaySettings)
    return value
