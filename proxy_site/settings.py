"""Django's settings. What an operator can set is read from the environment here, and nowhere else."""

import os
from pathlib import Path
from typing import Any

from apiproxy.conf import GatewaySettings
from proxy_site import theme, variables
from proxy_site.credentials import read_credential
from proxy_site.databases import channel_layer, kept_secret_key, prepare_state_dir, sqlite_database

BASE_DIR = Path(__file__).resolve().parent.parent

GATEWAY: GatewaySettings = variables.read_gateway(os.environ, base_dir=BASE_DIR, credential=read_credential(os.environ))
prepare_state_dir(GATEWAY.state_dir)

# Never on: Django's debug pages show settings and request headers, API keys among them.
DEBUG = False
SECRET_KEY = variables.SECRET_KEY.read(os.environ) or kept_secret_key(GATEWAY.state_dir)
ALLOWED_HOSTS = list(variables.ALLOWED_HOSTS.read(os.environ)) or ["localhost", "127.0.0.1", "[::1]", GATEWAY.host]

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

# Not the readable cookie that comes first by default: the secret of a key made in the admin is shown by a message.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# For the browser's pages; the API's handler (`proxy_site/handler.py`) goes without.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "proxy_site.csp.ContentSecurityPolicy",
    "proxy_site.static.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "proxy_site.urls"
ASGI_APPLICATION = "proxy_site.asgi.application"
# Paths without a slash at their end are the API's own spelling; a redirect would lose a POST's body.
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

DATABASES = {"default": variables.DATABASE_URL.read(os.environ) or sqlite_database(GATEWAY.state_dir / "db.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = variables.REDIS_URL.read(os.environ)
CHANNEL_LAYERS = {"default": channel_layer(REDIS_URL)}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "dashboard:overview"
UNFOLD = theme.UNFOLD

# The Messages API takes bodies of 32 MB; whatever is larger is refused by the API before it is read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 33 * 1024 * 1024
# No body goes to a file on its way: prompts are stored only where a key says so.
FILE_UPLOAD_MAX_MEMORY_SIZE = DATA_UPLOAD_MAX_MEMORY_SIZE

_HTTPS = variables.HTTPS.read(os.environ)
SESSION_COOKIE_SECURE = _HTTPS
CSRF_COOKIE_SECURE = _HTTPS
SECURE_SSL_REDIRECT = _HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
# Other hosts below this one's name, and lists in browsers, are for the owner of the name to decide about.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
CSRF_TRUSTED_ORIGINS = list(variables.CSRF_TRUSTED_ORIGINS.read(os.environ))
X_FRAME_OPTIONS = "DENY"

# Without origins the API's handler leaves CORS out, and the browser's pages never have it. No cookies cross origins:
# scripts elsewhere call the API with a key.
CORS_ALLOWED_ORIGINS = list(GATEWAY.cors_origins)
CORS_ALLOW_HEADERS = ("*", "authorization")  # the wildcard alone does not cover Authorization
CORS_EXPOSE_HEADERS = (
    *("request-id", "x-request-id", "server-timing", "retry-after", "retry-after-ms", "x-should-retry"),
    *("x-proxy-ignored", "x-proxy-token-count", "x-proxy-budget-warning"),
    *("x-conversation-messages", "x-conversation-unstored"),
    "x-proxy-demo",
    *(
        f"anthropic-ratelimit-{what}-{part}"
        for what in ("requests", "tokens")
        for part in ("limit", "remaining", "reset")
    ),
    *(f"x-ratelimit-{part}-{what}" for what in ("requests", "tokens") for part in ("limit", "remaining", "reset")),
)

STATIC_URL = "static/"
# Files are served from where the packages keep them, so that a start needs no collectstatic.
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "proxy_site.formats"
USE_I18N = False

# Background services that `serve` starts in this order; the API works without them.
GATEWAY_COMPANIONS = [
    "proxy_site.operations.Observability",
    "proxy_site.console.Dashboard",
]
# How the server refuses what is no request, and where it lets a connection become a socket.
GATEWAY_ERROR_BODY = "proxy_site.handler.error_body"
GATEWAY_SOCKET_PATHS = ["/dashboard/live"]
# Whose bodies the server reads.
GATEWAY_KEY_GATE = "proxy_site.key_gate.ApiKeyGate"
OTEL_ENDPOINT = variables.OTEL_ENDPOINT.read(os.environ)

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": GATEWAY.log_level},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "daphne": {"level": "WARNING"},  # `serve` itself says where it listens
    },
}
