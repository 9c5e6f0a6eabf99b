"""Django settings. The only module that reads the gateway's settings from the environment."""

import os
from pathlib import Path
from typing import Any

from apiproxy.conf import GatewaySettings
from apiproxy.conf.setting import PREFIX
from proxy_site.admin import theme
from proxy_site.conf import read_gateway, read_site
from proxy_site.databases import kept_secret_key, prepare_state_dir, sqlite_database
from proxy_site.routes import SOCKET_PATHS
from proxy_site.service_links import without_service_links
from proxy_site.upstream.credentials import read_credential


def _in_url(host: str) -> str:
    """The host as in a URL: IPv6 addresses have brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


BASE_DIR = Path(__file__).resolve().parent.parent

_ENV = without_service_links(os.environ, prefix=PREFIX)
_SITE = read_site(_ENV)
GATEWAY: GatewaySettings = read_gateway(
    _ENV, base_dir=BASE_DIR, site=_SITE, credential=read_credential(_ENV, demo=_SITE.demo)
)
# Set by Kubernetes for a Service with such a name; `serve` reports them.
IGNORED_VARIABLES = sorted(os.environ.keys() - _ENV.keys())
prepare_state_dir(GATEWAY.state_dir)

# Never on: Django's debug pages show settings and request headers, including API keys.
DEBUG = False
SECRET_KEY = _SITE.secret_key or kept_secret_key(GATEWAY.state_dir)
SECRET_KEY_FALLBACKS = list(_SITE.secret_key_fallbacks)
ALLOWED_HOSTS = list(_SITE.allowed_hosts) or ["localhost", "127.0.0.1", "[::1]", _in_url(GATEWAY.host)]

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "apiproxy",
    "observability",
]

# Not the default cookie storage: a message shows the secret of an API key created in the admin.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# For the browser's pages only; see `ApiHandler` in `proxy_site/handler.py`.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "proxy_site.middleware.ContentSecurityPolicy",
    "proxy_site.middleware.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "proxy_site.urls"
ASGI_APPLICATION = "proxy_site.asgi.application"
# API paths have no trailing slash, and a redirect would lose the body of a POST.
APPEND_SLASH = False

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": _SITE.database_url or sqlite_database(GATEWAY.state_dir / "db.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = _SITE.redis_url

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "dashboard:overview"
UNFOLD = theme.UNFOLD

# The Messages API accepts bodies of 32 MB; the gateway rejects larger ones before reading them.
DATA_UPLOAD_MAX_MEMORY_SIZE = 33 * 1024 * 1024
# No body is spooled to a file: prompts are stored only for keys that allow it.
FILE_UPLOAD_MAX_MEMORY_SIZE = DATA_UPLOAD_MAX_MEMORY_SIZE

SESSION_COOKIE_SECURE = _SITE.https
CSRF_COOKIE_SECURE = _SITE.https
SECURE_SSL_REDIRECT = _SITE.https
SECURE_HSTS_SECONDS = 31_536_000 if _SITE.https else 0
# HSTS for subdomains and preload lists is for the owner of the domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _SITE.https else None
CSRF_FAILURE_VIEW = "proxy_site.handler.csrf_failure"
CSRF_TRUSTED_ORIGINS = list(_SITE.csrf_trusted_origins)
X_FRAME_OPTIONS = "DENY"

# For API paths only, and only if origins are set. No cookies are sent across origins: scripts use an API key.
CORS_ALLOW_HEADERS = ("*", "authorization")  # `Cors` names what the browser asks for
CORS_ALLOW_PRIVATE_NETWORK = True  # a page on the web may call a gateway on the user's own machine
_RATE_LIMITS = [(count, part) for count in ("requests", "tokens") for part in ("limit", "remaining", "reset")]
CORS_EXPOSE_HEADERS = (
    "request-id",
    "x-request-id",
    "x-upstream-request-id",
    "anthropic-version",
    "server-timing",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-proxy-ignored",
    "x-proxy-agent",
    "x-proxy-token-count",
    "x-proxy-budget-warning",
    "x-conversation-messages",
    "x-conversation-unstored",
    "x-proxy-demo",
    *(f"anthropic-ratelimit-{count}-{part}" for count, part in _RATE_LIMITS),
    *(f"x-ratelimit-{part}-{count}" for count, part in _RATE_LIMITS),
)

STATIC_URL = "static/"
# Serve static files from the packages, so that no collectstatic is needed.
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "proxy_site.formats"
USE_I18N = False

# Background services that `serve` starts in this order; the API works without them.
GATEWAY_BACKGROUND_SERVICES = [
    "proxy_site.operations.Observability",
]
# Body of errors raised before Django sees the request, and the paths of websockets.
GATEWAY_ERROR_BODY = "proxy_site.handler.error_body"
GATEWAY_SOCKET_PATHS = list(SOCKET_PATHS)
# Decides whether the server reads a request body.
GATEWAY_KEY_GATE = "proxy_site.key_gate.ApiKeyGate"
OTEL_ENDPOINT = _SITE.otel_endpoint

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": GATEWAY.log_level},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "daphne": {"level": "WARNING"},  # `serve` prints the address itself
        "mcp": {"level": "CRITICAL"},  # its messages quote what servers and agents send
        "httpx2": {"level": "WARNING"},  # else the URL of each request
    },
}
