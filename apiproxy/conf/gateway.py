"""The gateway's settings as one frozen value. `proxy_site/env.py` reads them from the environment."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from django.conf import settings

MAX_PROCESSES = 64

CredentialKind = Literal["api_key", "gateway_token", "bedrock", "vertex", "foundry", "demo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """How the CLI reaches the upstream.

    env holds exactly the variables that the child gets for it (secrets included, so it is kept out of repr).
    base_url is the upstream's address for API keys and gateway tokens, None for the cloud platforms.
    """

    kind: CredentialKind
    env: dict[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDefaults:
    """The limits that a new key gets where nothing else is said; None: no limit. See `models.ApiKey`."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_runs: int | None = None
    budget_day_usd: Decimal | None = None
    budget_month_usd: Decimal | None = None
    budget_total_usd: Decimal | None = None
    budget_warn_percent: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How long, how many and how large sessions are kept, and whether their messages may be (the key decides too)."""

    ttl_hours: int = 24
    max_per_key: int = 500
    bytes_per_key: int = 268_435_456
    store: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowLists:
    """What any key may use at most; an empty list allows everything. See `policy.Policy`."""

    betas: tuple[str, ...] = ()
    server_tools: tuple[str, ...] = ()
    mcp_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """After how many failures in a row, within which time, the upstream is not asked, and for how long; 0: never."""

    failures: int = 10
    window_ms: int = 60_000
    open_ms: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Everything an operator can set; times in milliseconds as in the variables' names (`CLAUDE_PROXY_…`).

    seat is nothing that can be set: it tells this process from the others of its supervisor, None where it is alone.
    demo_refusal: why `serve` may not start without a credential, for the operator; empty where it may.
    """

    host: str
    port: int
    debug: bool
    log_level: str
    log_dir: Path
    state_dir: Path
    api_key: str | None = field(repr=False)
    max_concurrent: int
    max_starting: int
    queue_max: int
    queue_timeout_ms: int
    stall_timeout_ms: int
    max_duration_ms: int
    max_output_chars: int
    heartbeat_ms: int
    warm_workers: int
    worker_max_turns: int
    worker_max_rss_mb: int
    request_timeout_ms: int
    body_memory_mb: int
    upstream_retries: int
    drain_timeout_ms: int
    strict: bool
    cors_origins: tuple[str, ...]
    model_aliases: dict[str, str]
    trace_retention_days: int
    trusted_proxies: tuple[str, ...]
    credential: Credential
    key_defaults: KeyDefaults = KeyDefaults()
    sessions: SessionSettings = SessionSettings()
    breaker: BreakerSettings = BreakerSettings()
    allow_unpriced: bool = False
    allowed: AllowLists = AllowLists()
    processes: int = 1
    watchdog_ms: int = 10_000
    node: str = ""
    demo_refusal: str = ""
    seat: int | None = None


def metrics_dir(state_dir: Path, supervisor_pid: int) -> Path:
    """Where the processes of a supervisor count together; named as `engines.sdk.launch.sweep` wants it."""
    return state_dir / "metrics" / f"{supervisor_pid}-counts"


def gateway_settings() -> GatewaySettings:
    """The settings in force (Django's `settings.GATEWAY`)."""
    value = settings.GATEWAY
    assert isinstance(value, GatewaySettings)
    return value
