"""Setting groups nested in `GatewaySettings`, including the upstream credential."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from apiproxy.conf.checks import Check, boolean, csv, id_range, integer, path, string, usd
from apiproxy.conf.setting import setting
from apiproxy.core.addresses import private_host
from apiproxy.core.hosts import host_pattern
from apiproxy.core.proxies import is_socks
from apiproxy.core.turns import EngineName

_DAY_MS = 86_400_000
_MS = "milliseconds"
_KEY_LIMIT = integer(1, 2_000_000_000)

CredentialKind = Literal["api_key", "gateway_token", "bedrock", "vertex", "foundry", "demo"]
_CLOUD_SWITCHES: dict[CredentialKind, str] = {
    "bedrock": "CLAUDE_CODE_USE_BEDROCK",
    "vertex": "CLAUDE_CODE_USE_VERTEX",
    "foundry": "CLAUDE_CODE_USE_FOUNDRY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Credential that authenticates the CLI to the upstream.

    env holds exactly the credential variables passed to the child process, secrets included (hence not in repr).
    base_url is the upstream's address for API keys and gateway tokens, None for cloud platforms.
    """

    kind: CredentialKind
    env: dict[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None


def engine_problem(credential: Credential, engine: EngineName = "http") -> str:
    """Reason why the engine cannot use the credential or network, for the operator; empty if it can."""
    if engine == "sdk":
        return _sdk_problem(credential)
    switch = _CLOUD_SWITCHES.get(credential.kind)
    if switch is None:
        return ""
    if engine == "agents":
        return (
            f"agents cannot use {switch}: the gateway calls the Messages API for them, with an API key or a gateway "
            "token. Set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN instead."
        )
    return (
        f"the http engine cannot use {switch}: it calls the Messages API itself, with an API key or a gateway token. "
        "Use the sdk engine, or set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN instead."
    )


def _sdk_problem(credential: Credential) -> str:
    if not any(is_socks(credential.env.get(name)) for name in ("HTTPS_PROXY", "HTTP_PROXY")):
        return ""
    return (
        "the sdk engine cannot use a SOCKS proxy: its CLI does not support them. Set HTTPS_PROXY to an HTTP proxy, "
        "name the upstream in NO_PROXY, unset ALL_PROXY, or set CLAUDE_PROXY_ENGINE=http."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDefaults:
    """Default limits of a new key; None means no limit. See `models.ApiKey`."""

    requests_per_minute: int | None = setting(None, _KEY_LIMIT, "New keys: requests within any 60 seconds.")
    tokens_per_minute: int | None = setting(
        None, _KEY_LIMIT, "New keys: input and output tokens within any 60 seconds."
    )
    concurrent_runs: int | None = setting(None, _KEY_LIMIT, "New keys: concurrent runs.")
    budget_day_usd: Decimal | None = setting(None, usd(), "New keys: budget per day (UTC), in USD.")
    budget_month_usd: Decimal | None = setting(None, usd(), "New keys: budget per calendar month (UTC), in USD.")
    budget_total_usd: Decimal | None = setting(None, usd(), "New keys: total budget, in USD.")
    budget_warn_percent: int = setting(
        80,
        integer(1, 100, unit="percent"),
        "New keys: share of a budget above which responses carry `x-proxy-budget-warning`.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """Limits of stored sessions, and whether to store their messages."""

    ttl_hours: int = setting(24, integer(1, 876_000, unit="hours"), "Lifetime of a session after its last turn.")
    max_per_key: int = setting(
        500,
        integer(1, 1_000_000),
        "Maximum sessions per key; the least recently used is deleted first.",
        env="CLAUDE_PROXY_SESSION_MAX",
    )
    bytes_per_key: int = setting(
        268_435_456,
        integer(1, 2**50, unit="bytes"),
        "Maximum size of stored messages in all sessions of a key; a request above it is rejected with 413.",
    )
    store: bool = setting(
        False,
        boolean(),
        "Store the messages of sessions for keys that allow it (`store_bodies`), so that clients may send only new "
        "messages (`x-conversation-mode: append`).",
        env="CLAUDE_PROXY_STORE_SESSIONS",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentAnswerSettings:
    """Limits of recent answers (`answers.recent.RecentAnswers`)."""

    ttl_minutes: int = setting(
        60,
        integer(0, 43_200, unit="minutes"),
        "How long an OpenAI client may refer to an answer by its id after its last use. It is stored encrypted with a "
        "key derived from the client's API key. 0: no answer is stored.",
    )
    max_per_key: int = setting(
        20_000, integer(1, 100_000_000), "Maximum recent answers per key; the least recently used is deleted first."
    )
    bytes_per_key: int = setting(
        67_108_864,
        integer(1, 2**50, unit="bytes"),
        "Maximum size of a key's recent answers; the least recently used is deleted first.",
    )
    total_bytes: int = setting(
        1_073_741_824,
        integer(1, 2**60, unit="bytes"),
        "Maximum size of the recent answers of all keys; the least recently used is deleted first.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowLists:
    """Allow-lists that cap every key; an empty list means no restriction. See `keys.allow_lists.Policy`.

    private_hosts is no limit of keys: it opens what is otherwise closed (`core.addresses`).
    """

    betas: tuple[str, ...] = setting(
        (),
        csv(string(), allowed="beta names separated by commas; * for any characters; `none`"),
        "Values of `anthropic-beta` that keys may send. A key's own list can only narrow it.",
        note="all",
    )
    server_tools: tuple[str, ...] = setting(
        (),
        csv(string(), allowed="tool types separated by commas; * for any characters; `none`"),
        "Server tool types (`web_search*`) that keys may use. A key's own list can only narrow it.",
        note="all",
    )
    mcp_hosts: tuple[str, ...] = setting(
        (),
        csv(Check("a host name", host_pattern), allowed="host names or *.example.com, separated by commas; `none`"),
        "Hosts allowed in `mcp_servers` of a request. A key's own list can only narrow it.",
        note="all",
    )
    private_hosts: tuple[str, ...] = setting(
        (),
        csv(
            Check("a host name", private_host),
            allowed="hosts or host:port, such as 127.0.0.1:8080 or *.internal.example, separated by commas",
        ),
        "Hosts that the gateway may connect to for agents' MCP servers although their addresses are not public "
        "(loopback, private and link-local networks).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """Settings of the upstream's circuit breaker."""

    failures: int = setting(
        10,
        integer(0, 10_000),
        "Consecutive lost connections and 5xx responses of the upstream that open the circuit breaker; while it is "
        "open, requests are rejected with 502. 0: disabled.",
    )
    window_ms: int = setting(60_000, integer(1, _DAY_MS, unit=_MS), "Time window in which these failures are counted.")
    open_ms: int = setting(
        10_000,
        integer(1, _DAY_MS, unit=_MS),
        "How long the circuit stays open before one probe request of each key is allowed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JailSettings:
    """Limits of one jail, in which an agent's CLI, its built-in tools and its stdio servers run."""

    memory_mb: int = setting(
        1_024,
        integer(256, 1_048_576, unit="megabytes"),
        "Memory of all processes of one agent run with built-in tools or stdio servers; above it, the run is ended.",
    )
    disk_mb: int = setting(
        256,
        integer(64, 1_048_576, unit="megabytes"),
        "Size of all files of such a run. They are in memory, in addition to that of the processes; half is for the "
        "workspace. A run that fills it, or has more than 100 files per megabyte, is ended.",
    )
    processes: int = setting(
        256, integer(64, 100_000), "Maximum processes and threads of such a run; the CLI itself has about 30."
    )
    uids: tuple[int, int] = setting(
        (65_000, 65_499),
        id_range(),
        "User ids of such runs if the gateway runs as root: each run has one of its own.",
        note="65000-65499",
    )
    paths: tuple[Path, ...] = setting(
        (),
        csv(path(), allowed="paths separated by commas"),
        "Folders besides `/usr` that such runs can read, for the programs of stdio servers.",
    )
