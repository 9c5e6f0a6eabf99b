"""Headers and environment variables of MCP servers: what they may be, and their encrypted form."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from apiproxy.core.encryption import MASK, Encryption, UnreadableError

MAX_HEADERS = 32
MAX_VARIABLES = 64
MAX_SECRET_CHARS = 32_768
"""Of all names and values of a server."""
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OWN_HEADERS = frozenset(
    {
        *("accept", "connection", "content-length", "content-type", "host", "keep-alive", "last-event-id"),
        *("mcp-protocol-version", "mcp-session-id", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Set by the gateway's own client."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Decrypted headers (names in lower case) and environment variables of a server."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def masked(self) -> "Secrets":
        """The names alone."""
        return Secrets(dict.fromkeys(self.headers, MASK), dict.fromkeys(self.env, MASK))

    def encrypted(self) -> str:
        """Token for the database; empty if there is nothing to encrypt."""
        if not self.headers and not self.env:
            return ""
        return _encryption().encrypt(json.dumps({"headers": dict(self.headers), "env": dict(self.env)}))


def decrypted(token: str) -> Secrets:
    """Read a token. Raises UnreadableError if the secret key was replaced."""
    if not token:
        return Secrets()
    try:
        read: Any = json.loads(_encryption().decrypt(token))
        return Secrets(dict(read["headers"]), dict(read["env"]))
    except (ValueError, TypeError, KeyError):
        raise UnreadableError("it was not written by the gateway") from None


def checked_headers(given: Mapping[str, str], stored: Mapping[str, str], *, missing: str) -> dict[str, str]:
    """Headers with names in lower case, and the stored values in place of masks.

    missing: why a mask has no stored value. Raises ValidationError, whose text has no value.
    """
    lowered = {name.lower(): value for name, value in given.items()}
    if len(lowered) != len(given):
        raise ValidationError("Each header may be in the list only once.", code="headers")
    headers = _unmasked(lowered, stored, missing)
    if len(headers) > MAX_HEADERS:
        raise ValidationError(f"At most {MAX_HEADERS} headers.", code="headers")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValidationError(f"{name[:64]!r} is not the name of a header.", code="headers")
        if name in _OWN_HEADERS or name.startswith("proxy-"):
            raise ValidationError(f"{name} is set by the gateway itself.", code="headers")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValidationError(f"{name}: the value must be one line of ASCII characters.", code="headers")
    _check_size(headers)
    return headers


def checked_variables(given: Mapping[str, str], stored: Mapping[str, str], *, missing: str) -> dict[str, str]:
    """Environment variables, as `checked_headers`."""
    variables = _unmasked(given, stored, missing)
    if len(variables) > MAX_VARIABLES:
        raise ValidationError(f"At most {MAX_VARIABLES} variables.", code="env")
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise ValidationError(f"{name[:64]!r} is not the name of an environment variable.", code="env")
        if "\0" in value:
            raise ValidationError(f"{name}: the value must not contain a null character.", code="env")
    _check_size(variables)
    return variables


def _unmasked(given: Mapping[str, str], stored: Mapping[str, str], reason: str) -> dict[str, str]:
    missing = [name for name, value in given.items() if value == MASK and name not in stored]
    if missing:
        raise ValidationError(f"{', '.join(missing)}: enter the value; {reason}.", code="mask")
    return {name: stored[name] if value == MASK else value for name, value in given.items()}


def _check_size(values: Mapping[str, str]) -> None:
    if sum(len(name) + len(value) for name, value in values.items()) > MAX_SECRET_CHARS:
        raise ValidationError(f"At most {MAX_SECRET_CHARS:,} characters in all.", code="size")


def _encryption() -> Encryption:
    return Encryption((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS), purpose="MCP servers")
