"""The authenticated caller."""

from dataclasses import dataclass, field

from apiproxy.core.limits import NO_LIMITS, KeyLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Caller authenticated by an API key. Empty allow-lists allow everything.

    expires_at: Unix time in seconds. limits: cached, possibly some seconds old; enforcement reads them under the key's
    lock. seal_key: derived from the secret (`core.sealing`); empty if unknown.
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
    cache_prompts: bool = True
    expires_at: float | None = None
    previous_secret: bool = False
    """True if the caller used the key's secret from before the last rotation."""
    seal_key: bytes = field(default=b"", repr=False, compare=False)
