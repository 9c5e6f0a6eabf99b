"""The gateway's settings. `proxy_site/env.py` reads them from the environment."""

from apiproxy.conf.gateway import MAX_PROCESSES, GatewaySettings, gateway_settings, metrics_dir
from apiproxy.conf.groups import (
    AllowLists,
    BreakerSettings,
    Credential,
    CredentialKind,
    KeyDefaults,
    SessionSettings,
    engine_problem,
)

__all__ = [
    "MAX_PROCESSES",
    "AllowLists",
    "BreakerSettings",
    "Credential",
    "CredentialKind",
    "GatewaySettings",
    "KeyDefaults",
    "SessionSettings",
    "engine_problem",
    "gateway_settings",
    "metrics_dir",
]
