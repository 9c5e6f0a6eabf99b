"""Keeps account of what a request asks for and cannot get, so that it is said and not dropped in silence."""

import re

from apiproxy.core.errors import FailureKind, ProxyError

HEADER = "x-proxy-ignored"
MAX_NAMED = 40
_MAX_TRACKED = 1_000
"""Names kept apart; of further ones only the number is, which may then be too high."""

_HEADER_SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,100}")


def invalid_field(field: str, reason: str) -> ProxyError:
    """The 400 for a field that cannot be accepted; the message starts with the field's name."""
    return ProxyError(FailureKind.INVALID_REQUEST, f"{field}: {reason}", param=field)


class IgnoredFields:
    """The fields of one request that are not honoured, or not as they stand; each is named once.

    In strict mode the first one is a 400 instead.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._names: dict[str, None] = {}
        self._overflow = 0

    def add(self, field: str, note: str = "") -> None:
        """Names a field. note: what was done instead, in a few plain ASCII words. Raises ProxyError in strict mode."""
        if self._strict:
            raise invalid_field(
                field, f"this gateway cannot honour it{f' ({note})' if note else ''} and is set to say so"
            )
        name = f"{_header_safe(field)} ({note})" if note else _header_safe(field)
        if len(self._names) < _MAX_TRACKED:
            self._names[name] = None
        elif name not in self._names:
            self._overflow += 1

    @property
    def names(self) -> tuple[str, ...]:
        """What to put in the `x-proxy-ignored` header, in the order in which it was found; header-safe."""
        names = tuple(self._names)
        more = len(names) - MAX_NAMED + self._overflow
        return names if more <= 0 else (*names[:MAX_NAMED], f"and {more} more")


def _header_safe(field: str) -> str:
    """The name itself, unless a client made one up that a header must not carry."""
    return field if _HEADER_SAFE_NAME.fullmatch(field) else "(a field with an unusual name)"
