"""The caller that an API key stands for."""

from dataclasses import dataclass

from apiproxy.core.limits import NO_LIMITS, KeyLimits
from apiproxy.limits.rows import limits_of
from apiproxy.models import ApiKey


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


def principal_of(row: ApiKey, *, previous_secret: bool = False) -> Principal:
    """The principal of a key's row. previous_secret: see `Principal`."""
    ends = [row.expires_at, row.previous_until if previous_secret else None]
    return Principal(
        key_id=row.pk,
        label=row.name,
        scopes=frozenset(row.scopes),
        allowed_models=tuple(row.allowed_models),
        allowed_dialects=tuple(row.allowed_dialects),
        allowed_betas=tuple(row.allowed_betas),
        allowed_server_tools=tuple(row.allowed_server_tools),
        allowed_mcp_hosts=tuple(row.allowed_mcp_hosts),
        limits=limits_of(row),
        priority=row.priority,
        store_bodies=row.store_bodies,
        expires_at=min((end.timestamp() for end in ends if end is not None), default=None),
        previous_secret=previous_secret,
    )
