"""The gateway's settings. `proxy_site/env.py` reads them from the environment."""

from apiproxy.conf.gateway import (
    MAX_PROCESSES,
    AllowLists,
    BreakerSettings,
    Credential,
    CredentialKind,
    GatewaySettings,
    KeyDefaults,
    SessionSettings,
    gateway_settings,
    metrics_dir,
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
    "gateway_settings",
    "metrics_dir",
]
