"""Every variable that the gateway reads about itself, and the `GatewaySettings` made of them.

The upstream's variables are in `credentials.py`. docs/configuration.md shows `VARIABLES` as a table.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apiproxy.conf import Credential, GatewaySettings
from proxy_site import account_variables as account
from proxy_site import env as kinds
from proxy_site import patience_variables as patience
from proxy_site import process_variables as process
from proxy_site import run_variables as runs
from proxy_site.databases import parse_database_url
from proxy_site.env import Env, Kind, SettingError, Variable, refuse_unknown
from proxy_site.upstream.demo import DEMO, demo_refusal

PREFIX = "CLAUDE_PROXY_"

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_USUAL_PORTS = {"http": 80, "https": 443}

HOST = Variable(
    name="CLAUDE_PROXY_HOST",
    kind=kinds.string("an address of this machine, such as 127.0.0.1 or 0.0.0.0"),
    default="127.0.0.1",
    meaning="The address to listen on.",
)
PORT = Variable(
    name="CLAUDE_PROXY_PORT",
    kind=kinds.integer(0, 65_535),
    default=3456,
    meaning="The port to listen on; 0 takes any free one.",
)
ALLOWED_HOSTS = Variable(
    name="CLAUDE_PROXY_ALLOWED_HOSTS",
    kind=kinds.csv(kinds.string(), allowed="host names separated by commas"),
    default=(),
    default_note="localhost, 127.0.0.1, [::1] and the address to listen on",
    meaning="The names under which clients may reach the gateway (the `Host` header).",
)
HTTPS = Variable(
    name="CLAUDE_PROXY_HTTPS",
    kind=kinds.boolean(),
    default=False,
    meaning="Clients come over HTTPS, by a reverse proxy that sets `X-Forwarded-Proto`: cookies are marked secure.",
)
CSRF_TRUSTED_ORIGINS = Variable(
    name="CLAUDE_PROXY_CSRF_TRUSTED_ORIGINS",
    kind=kinds.csv(kinds.origin(), allowed="origins such as https://example.org, separated by commas"),
    default=(),
    meaning="Origins whose browser forms are accepted beside the gateway's own.",
)
CORS_ORIGINS = Variable(
    name="CLAUDE_PROXY_CORS_ORIGINS",
    kind=kinds.csv(kinds.origin(), allowed="origins such as https://example.org, separated by commas"),
    default=(),
    meaning="Origins whose scripts may call the API from a browser; none: CORS is off.",
)
TRUSTED_PROXIES = Variable(
    name="CLAUDE_PROXY_TRUSTED_PROXIES",
    kind=kinds.csv(kinds.network(), allowed="IP addresses or networks separated by commas"),
    default=(),
    meaning="Reverse proxies whose `X-Forwarded-For` is believed.",
)
API_KEY: Variable[str | None] = Variable(
    name="CLAUDE_PROXY_API_KEY",
    kind=kinds.string(),
    default=None,
    secret=True,
    meaning="A key that clients may use, kept beside those in the database under the name `env`.",
)
SECRET_KEY: Variable[str | None] = Variable(
    name="CLAUDE_PROXY_SECRET_KEY",
    kind=kinds.string(),
    default=None,
    default_note="made once and kept in the state folder",
    secret=True,
    meaning="The key that signs browser sessions.",
)
STATE_DIR: Variable[Path | None] = Variable(
    name="CLAUDE_PROXY_STATE_DIR",
    kind=kinds.path(),
    default=None,
    default_note="`state` beside manage.py",
    meaning="The folder of all that the gateway writes: database, signing key, logs, what the workers leave.",
)
LOG_DIR: Variable[Path | None] = Variable(
    name="CLAUDE_PROXY_LOG_DIR",
    kind=kinds.path(),
    default=None,
    default_note="`logs` in the state folder",
    meaning="The folder of the log files.",
)
LOG_LEVEL = Variable(
    name="CLAUDE_PROXY_LOG_LEVEL",
    kind=kinds.choice(("DEBUG", "INFO", "WARNING", "ERROR")),
    default="INFO",
    meaning="The least severe messages that are logged.",
)
DEBUG = Variable(
    name="CLAUDE_PROXY_DEBUG",
    kind=kinds.boolean(),
    default=False,
    meaning="Logs everything, whatever the log level. It never turns on Django's debug pages, which show secrets.",
)
DATABASE_URL: Variable[dict[str, Any] | None] = Variable(
    name="DATABASE_URL",
    kind=Kind("sqlite:///path or postgres://user:password@host/name", parse_database_url),
    default=None,
    default_note="SQLite in the state folder",
    secret=True,
    meaning="The database; `sqlite:///` takes a path from the working directory, `sqlite:////` one from the root.",
)
REDIS_URL: Variable[str | None] = Variable(
    name="REDIS_URL",
    kind=kinds.url("redis", "rediss"),
    default=None,
    default_note="the database does it, more slowly",
    secret=True,
    meaning="The Redis by which several processes show each other what they do.",
)
OTEL_ENDPOINT: Variable[str | None] = Variable(
    name="OTEL_EXPORTER_OTLP_ENDPOINT",
    kind=kinds.url("http", "https"),
    default=None,
    default_note="no spans",
    meaning="Where OpenTelemetry spans go, by OTLP over HTTP; needs the extra `otel`.",
)
MODEL_ALIASES: Variable[dict[str, str]] = Variable(
    name="CLAUDE_PROXY_MODEL_ALIASES",
    kind=kinds.mapping(allowed="alias=model pairs separated by commas, each alias once"),
    default={},
    default_note="none",
    meaning="Further names for models, beside `opus`, `sonnet` and `haiku`.",
)
STRICT = Variable(
    name="CLAUDE_PROXY_STRICT",
    kind=kinds.boolean(),
    default=False,
    meaning="Refuses an OpenAI field that cannot be honoured, instead of naming it in `x-proxy-ignored`.",
)
TRACE_RETENTION_DAYS = Variable(
    name="CLAUDE_PROXY_TRACE_RETENTION_DAYS",
    kind=kinds.integer(1, 36_500, unit="days"),
    default=30,
    meaning="How long traces and error dumps are kept.",
)

# fmt: off
VARIABLES: tuple[Variable[object], ...] = (
    HOST, PORT, *process.VARIABLES, ALLOWED_HOSTS, HTTPS, CSRF_TRUSTED_ORIGINS, CORS_ORIGINS, TRUSTED_PROXIES, DEMO,
    API_KEY, SECRET_KEY, STATE_DIR, LOG_DIR, LOG_LEVEL, DEBUG, DATABASE_URL, REDIS_URL, OTEL_ENDPOINT,
    *runs.VARIABLES, *patience.VARIABLES, MODEL_ALIASES, STRICT, TRACE_RETENTION_DAYS, *account.VARIABLES,
)
# fmt: on


def check_names(env: Env) -> None:
    """Raises SettingError for a `CLAUDE_PROXY_…` variable that nothing reads."""
    refuse_unknown(env, prefix=PREFIX, known={name for variable in VARIABLES for name in variable.names})


def read_gateway(env: Env, *, base_dir: Path, credential: Credential) -> GatewaySettings:
    """The gateway's settings. Raises SettingError for the first value that is not allowed."""
    check_names(env)
    state_dir = STATE_DIR.read(env) or base_dir / "state"
    debug = DEBUG.read(env)
    settings = GatewaySettings(
        host=HOST.read(env),
        port=PORT.read(env),
        debug=debug,
        log_level="DEBUG" if debug else LOG_LEVEL.read(env),
        log_dir=LOG_DIR.read(env) or state_dir / "logs",
        state_dir=state_dir,
        api_key=API_KEY.read(env),
        max_concurrent=runs.MAX_CONCURRENT.read(env),
        max_starting=runs.MAX_STARTING.read(env) or runs.half_of_the_cores(),
        queue_max=runs.QUEUE_MAX.read(env),
        queue_timeout_ms=runs.QUEUE_TIMEOUT_MS.read(env),
        stall_timeout_ms=runs.STALL_TIMEOUT_MS.read(env),
        max_duration_ms=runs.MAX_DURATION_MS.read(env),
        max_output_chars=runs.MAX_OUTPUT_CHARS.read(env),
        heartbeat_ms=runs.HEARTBEAT_MS.read(env),
        warm_workers=runs.WARM_WORKERS.read(env),
        worker_max_turns=runs.WORKER_MAX_TURNS.read(env),
        worker_max_rss_mb=runs.WORKER_MAX_RSS_MB.read(env),
        request_timeout_ms=patience.REQUEST_TIMEOUT_MS.read(env),
        body_memory_mb=patience.BODY_MEMORY_MB.read(env),
        upstream_retries=runs.UPSTREAM_RETRIES.read(env),
        breaker=patience.read_breaker(env),
        drain_timeout_ms=runs.DRAIN_TIMEOUT_MS.read(env),
        strict=STRICT.read(env),
        cors_origins=CORS_ORIGINS.read(env),
        model_aliases=MODEL_ALIASES.read(env),
        trace_retention_days=TRACE_RETENTION_DAYS.read(env),
        trusted_proxies=TRUSTED_PROXIES.read(env),
        credential=credential,
        key_defaults=account.read_key_defaults(env),
        sessions=account.read_sessions(env),
        allow_unpriced=account.ALLOW_UNPRICED.read(env),
        allowed=account.read_allowed(env),
        processes=process.PROCESSES.read(env),
        watchdog_ms=process.WATCHDOG_MS.read(env),
        node=process.NODE.read(env),
        demo_refusal=demo_refusal(env, host=HOST.read(env), https=HTTPS.read(env)),
    )
    _refuse_loop(settings)
    return settings


def _refuse_loop(settings: GatewaySettings) -> None:
    """A shell that is set up for a client of the gateway must not make the gateway its own upstream."""
    parts = urlsplit(settings.credential.base_url or "")
    port = parts.port or _USUAL_PORTS.get(parts.scheme)
    if parts.hostname in _LOOPBACK | {settings.host} and port == settings.port:
        raise SettingError(
            f"ANTHROPIC_BASE_URL: {settings.credential.base_url!r} is this gateway's own address; "
            "it must be the upstream's."
        )
