"""Settings of the Django site, and all settings read together.

The upstream's variables are in `upstream/`. docs/configuration.md lists `TABLE`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apiproxy.conf import Credential, GatewaySettings, engine_problem
from apiproxy.conf.checks import Check, boolean, csv, origin, string, url
from apiproxy.conf.setting import PREFIX, setting, table
from proxy_site.databases import parse_database_url
from proxy_site.env import Env, SettingError, read_settings, reject_unknown
from proxy_site.upstream.demo import demo_refusal

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """Settings that only the Django settings module uses, or that decide whether the gateway may start."""

    allowed_hosts: tuple[str, ...] = setting(
        (),
        csv(string(), allowed="host names separated by commas"),
        "Host names under which clients may reach the gateway (the `Host` header).",
        note="localhost, 127.0.0.1, [::1] and the address to listen on",
    )
    https: bool = setting(
        False,
        boolean(),
        "Clients connect over HTTPS, through a reverse proxy that sets `X-Forwarded-Proto`; cookies are marked secure.",
    )
    csrf_trusted_origins: tuple[str, ...] = setting(
        (),
        csv(origin(), allowed="origins such as https://example.org, separated by commas"),
        "Origins whose browser forms are accepted, in addition to the gateway's own.",
    )
    demo: bool | None = setting(
        None,
        boolean(),
        "1: without an upstream credential, the embedded stand-in answers. 0: without one, the start is refused.",
        note="on a loopback address, unless another setting indicates production",
    )
    secret_key: str | None = setting(
        None,
        string(),
        "Key that signs browser sessions; keys derived from it encrypt the secrets of MCP servers.",
        note="generated once and kept in the state folder",
        secret=True,
    )
    secret_key_fallbacks: tuple[str, ...] = setting(
        (),
        csv(string(), allowed="former secret keys, separated by commas"),
        "Former secret keys that are still accepted. `manage.py agents reencrypt` makes them unnecessary.",
        secret=True,
    )
    database_url: dict[str, Any] | None = setting(
        None,
        Check("sqlite:///path or postgres://user:password@host/name", parse_database_url),
        "Database. `sqlite:///` takes a path relative to the working directory, `sqlite:////` an absolute one.",
        env="DATABASE_URL",
        note="SQLite in the state folder",
        secret=True,
    )
    redis_url: str | None = setting(
        None,
        url("redis", "rediss"),
        "Redis through which several processes exchange their live state.",
        env="REDIS_URL",
        note="the database is used, more slowly",
        secret=True,
    )
    otel_endpoint: str | None = setting(
        None,
        url("http", "https"),
        "OTLP/HTTP endpoint for OpenTelemetry spans; needs the extra `otel`.",
        env="OTEL_EXPORTER_OTLP_ENDPOINT",
        note="no spans",
    )


TABLE = (*table(GatewaySettings), *table(SiteSettings))
"""Every setting of the gateway and the site."""


def read_site(env: Env) -> SiteSettings:
    """The site's settings.

    Raises SettingError for an invalid value or an unknown `CLAUDE_PROXY_…` variable.
    """
    reject_unknown(env, prefix=PREFIX, known={name for it in TABLE for name in it.names})
    return read_settings(SiteSettings, env)


def read_gateway(env: Env, *, base_dir: Path, site: SiteSettings, credential: Credential) -> GatewaySettings:
    """The gateway's settings. Raises SettingError for the first invalid value."""
    settings = read_settings(GatewaySettings, env, base_dir=base_dir, credential=credential)
    settings = replace(
        settings,
        log_level="DEBUG" if settings.debug else settings.log_level,
        demo_refusal=demo_refusal(env, demo=site.demo, host=settings.host, https=site.https),
    )
    _reject_loop(settings)
    if problem := engine_problem(credential, settings.engine):
        raise SettingError(f"CLAUDE_PROXY_ENGINE: {settings.engine!r} is not allowed here: {problem}")
    return settings


def _reject_loop(settings: GatewaySettings) -> None:
    """Raises SettingError if the gateway would be its own upstream, as in a shell set up for its clients."""
    parts = urlsplit(settings.credential.base_url or "")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if parts.hostname in _LOOPBACK | {settings.host} and port == settings.port:
        raise SettingError(
            f"ANTHROPIC_BASE_URL: {settings.credential.base_url!r} is this gateway's own address; "
            "it must be the upstream's."
        )
