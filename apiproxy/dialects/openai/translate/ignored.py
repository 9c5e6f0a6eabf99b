"""Report of unsupported request fields for the header `x-proxy-ignored`."""

import re

from apiproxy.core.errors import FailureKind, ProxyError

HEADER = "x-proxy-ignored"
MAX_NAMED = 40
_MAX_TRACKED = 1_000
"""Distinct names tracked; further ones are only counted, duplicates included."""

_HEADER_SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,100}")


def invalid_field(field: str, reason: str) -> ProxyError:
    """400 for an invalid or unsupported field; the message starts with its path."""
    return ProxyError(FailureKind.INVALID_REQUEST, f"{field}: {reason}", param=field)


class IgnoredFields:
    """Fields of one request that are ignored or changed.

    In strict mode, the first one is a 400 instead.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._names: dict[str, None] = {}
        self._overflow = 0

    def add(self, field: str, note: str = "") -> None:
        """Report a field.

        note: the replacement, in ASCII. Raises ProxyError in strict mode.
        """
        if self._strict:
            raise invalid_field(
                field, f"not supported{f' ({note})' if note else ''}, and the gateway is in strict mode"
            )
        name = f"{header_safe(field)} ({note})" if note else header_safe(field)
        if len(self._names) < _MAX_TRACKED:
            self._names[name] = None
        elif name not in self._names:
            self._overflow += 1

    @property
    def names(self) -> tuple[str, ...]:
        """Header-safe values for `x-proxy-ignored`, in order of their report."""
        names = tuple(self._names)
        more = len(names) - MAX_NAMED + self._overflow
        return names if more <= 0 else (*names[:MAX_NAMED], f"and {more} more")


def header_safe(field: str) -> str:
    """The name, unless it must not appear in a header."""
    return field if _HEADER_SAFE_NAME.fullmatch(field) else "(a field with an unusual name)"
