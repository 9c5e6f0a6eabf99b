"""Host names of URLs, and host patterns. Pure.

URLs are parsed so strictly that no other parser can see a different host.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

MAX_URL_CHARS = 8_192
_NOT_IN_URLS = re.compile(r"[^!-~]|[\\\"<>^`{|}]")
"""Whitespace, control, non-ASCII, and what WHATWG parsers rewrite (`\\` to `/`)."""
_NETLOC = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:@]+)(?::[0-9]*)?")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_MAX_HOST_CHARS = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def host_of(url: str) -> str | None:
    """Normalized host of an http or https URL; None if missing or ambiguous.

    Ambiguous: user names (`https://allowed@other`), hosts that are not ASCII or contain `%`, unusual spellings of
    addresses (`127.1`, `0x7f000001`) and invalid ports. A trailing dot is ignored.
    """
    if len(url) > MAX_URL_CHARS or _NOT_IN_URLS.search(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if invalid
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _NETLOC.fullmatch(parts.netloc) or not parts.hostname:
        return None
    return _address(parts.hostname) if parts.netloc.startswith("[") else _name(parts.hostname)


@lru_cache(maxsize=1_024)
def host_pattern(text: str) -> str:
    """Normalize an allow-list entry.

    Entries are host names, addresses, `*.example.com`, `*` and `none`. Raises ValueError for anything else.
    """
    if text in ("*", "none"):
        return text
    wild, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if not name.isascii():
        name = name.encode("idna").decode("ascii")  # raises UnicodeError, a ValueError
    address = None if wild else _address(name.strip("[]"))
    found = address or _name(name.lower())
    if found is None or (wild and _is_address(found)):
        raise ValueError(text)
    return wild + found


def matches_host(pattern: str, host: str) -> bool:
    """True if an allow-list entry matches a host from `host_of`.

    `*.example.com` does not match `example.com`; an invalid entry matches nothing.
    """
    try:
        wanted = host_pattern(pattern)
    except ValueError:
        return False
    if wanted == "*":
        return True
    if wanted.startswith("*."):
        return host.endswith(wanted[1:]) and not _is_address(host)
    return wanted == host and wanted != "none"


def _name(host: str) -> str | None:
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > _MAX_HOST_CHARS or not all(_NAME.fullmatch(label) for label in labels):
        return None
    if _NUMBER.fullmatch(labels[-1]):  # WHATWG reads such a host as an IPv4 address
        address = _address(host)
        return address if address == host else None
    return host


def _address(text: str) -> str | None:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else str(address)


def _is_address(host: str) -> bool:
    return _address(host) is not None
