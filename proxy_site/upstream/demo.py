"""True if the gateway may start as a demo, without an upstream credential.

A production gateway that lost its credential to a typo or a missing file would answer its clients with made-up text of
the stand-in. So a demo starts only if no setting indicates production, or if it is requested.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from proxy_site.env import Env, SettingError

_SIGNS = (
    *("CLAUDE_PROXY_ALLOWED_HOSTS", "CLAUDE_PROXY_TRUSTED_PROXIES", "CLAUDE_PROXY_CSRF_TRUSTED_ORIGINS"),
    *("CLAUDE_PROXY_SECRET_KEY", "CLAUDE_PROXY_NODE", "DATABASE_URL", "REDIS_URL"),
)
"""Set (or their `_FILE` form) only in production: behind a reverse proxy, or on several machines."""
_CREDENTIALS = (
    "ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_USE_BEDROCK, CLAUDE_CODE_USE_VERTEX or "
    "CLAUDE_CODE_USE_FOUNDRY"
)


def demo_refusal(env: Env, *, demo: bool | None, host: str, https: bool) -> str:
    """Reason why a demo must not start with these settings, for the operator; empty if it may.

    demo: CLAUDE_PROXY_DEMO.
    """
    if demo:
        return ""
    signs = ["CLAUDE_PROXY_DEMO=0"] if demo is False else list(_signs(env, host=host, https=https))
    if not signs:
        return ""
    return (
        f"No upstream credential is set, and {', '.join(signs)} rules out demo mode. Set {_CREDENTIALS}; "
        "or set CLAUDE_PROXY_DEMO=1 to run the embedded stand-in."
    )


def reject_demo_with(credential: str, *, demo: bool | None) -> None:
    """Raises SettingError if a demo is requested and a credential is set."""
    if demo:
        raise SettingError(f"CLAUDE_PROXY_DEMO and {credential} are both set; set one of them.")


def _signs(env: Env, *, host: str, https: bool) -> Iterator[str]:
    if not _is_loopback(host):
        yield "CLAUDE_PROXY_HOST"
    if https:
        yield "CLAUDE_PROXY_HTTPS"
    for name in _SIGNS:
        yield from (form for form in (name, f"{name}_FILE") if env.get(form, "").strip())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
