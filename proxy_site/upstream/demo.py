"""Whether the gateway may answer as a demo, where no upstream credential is set.

A gateway meant for production that lost its credential to a typo, or to a missing file, would answer its clients with
the stand-in's inventions. So a demo starts only where nothing indicates production, or where it is asked for.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from proxy_site import env as kinds
from proxy_site.env import Env, SettingError, Variable

DEMO: Variable[bool | None] = Variable(
    name="CLAUDE_PROXY_DEMO",
    kind=kinds.boolean(),
    default=None,
    default_note="on a loopback address, where nothing else indicates production",
    meaning="1: where no upstream credential is set, the embedded stand-in answers; 0: the start is refused then.",
)

_SIGNS = (
    *("CLAUDE_PROXY_ALLOWED_HOSTS", "CLAUDE_PROXY_TRUSTED_PROXIES", "CLAUDE_PROXY_CSRF_TRUSTED_ORIGINS"),
    *("CLAUDE_PROXY_SECRET_KEY", "CLAUDE_PROXY_NODE", "DATABASE_URL", "REDIS_URL"),
)
"""Set (or with `_FILE` at the end) only where others come: behind a reverse proxy, or over several machines."""
_CREDENTIALS = (
    "ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_USE_BEDROCK, CLAUDE_CODE_USE_VERTEX or "
    "CLAUDE_CODE_USE_FOUNDRY"
)


def demo_refusal(env: Env, *, host: str, https: bool) -> str:
    """Why a demo may not start with these settings, for the operator; empty where it may. Raises SettingError."""
    allowed = DEMO.read(env)
    if allowed:
        return ""
    signs = ["CLAUDE_PROXY_DEMO=0"] if allowed is False else list(_signs(env, host=host, https=https))
    if not signs:
        return ""
    return (
        f"No upstream credential is set, and {', '.join(signs)} says that this is no demo. Set {_CREDENTIALS}; "
        "or set CLAUDE_PROXY_DEMO=1, and the embedded stand-in answers."
    )


def refuse_demo_beside(env: Env, credential: str) -> None:
    """Raises SettingError where a demo is asked for and a credential is set: one of them is not meant."""
    if DEMO.read(env):
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
