"""The gateway's settings as one frozen value. `proxy_site/env.py` reads them from the environment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from django.conf import settings

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
class GatewaySettings:
    """Everything an operator can set; times in milliseconds as in the variables' names (`CLAUDE_PROXY_…`)."""

    host: str
    port: int
    debug: bool
    log_level: str
    log_dir: Path
    state_dir: Path
    api_key: str | None = field(repr=False)
    max_concurrent: int
    queue_max: int
    queue_timeout_ms: int
    stall_timeout_ms: int
    max_duration_ms: int
    max_output_chars: int
    heartbeat_ms: int
    warm_workers: int
    worker_max_turns: int
    worker_max_rss_mb: int
    upstream_retries: int
    drain_timeout_ms: int
    strict: bool
    cors_origins: tuple[str, ...]
    model_aliases: dict[str, str]
    trace_retention_days: int
    trusted_proxies: tuple[str, ...]
    credential: Credential


def gateway_settings() -> GatewaySettings:
    """The settings in force (Django's `settings.GATEWAY`)."""
    value = settings.GATEWAY
    assert isinstance(value, GatewaySettings)
    return value
