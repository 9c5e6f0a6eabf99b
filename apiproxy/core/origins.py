"""Web origins: which values a setting may have, and whether an `Origin` header matches one of them.

Browsers send `scheme://host[:port]`. Desktop applications and extensions have schemes of their own
(`tauri://localhost`, `vscode-webview://ID`), and pages without an origin, such as files, send `null`.
"""

import re
from collections.abc import Iterable

_PATTERN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:\*\.)?(?:\*|[a-z0-9_~.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_WITHOUT_HOST = frozenset({"null", "file://"})
_MAX_ORIGIN_CHARS = 1_024


def is_origin_pattern(text: str) -> bool:
    """True for an origin, `null`, or an origin with `*` for its host or for the first labels of its host."""
    return text.lower() in _WITHOUT_HOST or ("*.*" not in text and _PATTERN.fullmatch(text) is not None)


def matches_origin(origin: str, allowed: Iterable[str]) -> bool:
    """True if the value of an `Origin` header is one of the allowed origins or matches one with `*`.

    `*.example.org` stands for every name below example.org, and `*` for every host. A port must be the same.
    """
    if not origin or len(origin) > _MAX_ORIGIN_CHARS:
        return False
    given = origin.lower()
    return any(given == it or ("*" in it and _matches(given, it)) for it in map(str.lower, allowed))


def _matches(origin: str, pattern: str) -> bool:
    scheme, _, rest = pattern.partition("://")
    if not _PATTERN.fullmatch(origin) or not origin.startswith(f"{scheme}://") or "*" in origin:
        return False
    host = origin.removeprefix(f"{scheme}://")
    end = rest.removeprefix("*")  # ".example.org", ":8080" or nothing
    if end:
        return host.endswith(end) and len(host) > len(end)
    return ":" not in host.rpartition("]")[2]
