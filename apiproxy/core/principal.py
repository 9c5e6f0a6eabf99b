"""The caller that an API key stands for."""

from dataclasses import dataclass

from apiproxy.core.limits import NO_LIMITS, KeyLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a key stands for. expires_at is Unix time in seconds; an empty list of what is allowed means everything.

    limits tell whether there are any and may be some seconds old; what counts is decided under the key's lock.
    """

    key_id: int
    label: str
    scopes: frozenset[str]
    allowed_models: tuple[str, ...] = ()
    allowed_dialects: tuple[str, ...] = ()
    allowed_betas: tuple[str, ...] = ()
    allowed_server_tools: tuple[str, ...] = ()
    allowed_mcp_hosts: tuple[str, ...] = ()
    limits: KeyLimits = NO_LIMITS
    priority: int = 0
    store_bodies: bool = False
    expires_at: float | None = None
    previous_secret: bool = False
    """Whether the key was presented by its secret before the last rotation."""
