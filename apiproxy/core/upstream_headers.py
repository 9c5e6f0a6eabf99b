"""Request headers that go upstream: the API version, and an explicit list of the client's own.

Never on the list: credentials, cookies, addresses (`x-forwarded-for`), what belongs to a connection (`host`,
`content-length`, `accept-encoding`, hop-by-hop headers), and `anthropic-workspace-id` and `anthropic-user-profile-id`,
which choose whose account the operator's credential acts for.

Sources: the requests of the bundled CLI 2.1.330 and of `anthropic` 2.12, recorded by the stand-in, and
https://code.claude.com/docs/en/llm-gateway-protocol
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import DEFAULT_API_VERSION

VERSION_HEADER = "anthropic-version"
BETA_HEADER = "anthropic-beta"

SESSION_HEADERS = ("x-claude-code-session-id", "x-claude-code-agent-id", "x-claude-code-parent-agent-id")
"""Session and agent of a Claude Code request."""
HINT_HEADERS = (
    "x-claude-code-request-class",
    "x-claude-1p-request-class",
    "x-claude-code-agent-type",
    "x-claude-code-auxiliary-type",
    "x-claude-code-compaction",
    "x-claude-code-context-compacted",
    "x-claude-code-prev-tool-durations",
    "x-claude-code-prompt-id",
    "x-claude-code-managed-settings-checksum",
)
"""Sent by Claude Code with `CLAUDE_CODE_GATEWAY_HINT_HEADERS=1`."""
_CLIENT_HEADERS = (
    "accept",
    "user-agent",
    "x-app",
    "x-client-app",
    "x-client-request-id",
    "x-anthropic-additional-protection",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-client-platform",
    "anthropic-client-version",
    "x-claude-remote-container-id",
    "x-claude-remote-session-id",
    "x-stainless-arch",
    "x-stainless-async",
    "x-stainless-helper",
    "x-stainless-helper-method",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-read-timeout",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-stream-helper",
    "x-stainless-timeout",
)
UPSTREAM_HEADERS = (*SESSION_HEADERS, *HINT_HEADERS, *_CLIENT_HEADERS)

MAX_HEADER_CHARS = 4_096
"""Limit of one header. Longer ones, and those with other than printable ASCII, are dropped: these headers do
not change the answer, so they are no reason to reject a request. `anthropic-beta` is checked by its parser (400)."""

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_VALUE = re.compile(r"[ -~]+")


def api_version(headers: Mapping[str, str]) -> str:
    """The client's `anthropic-version`, or the default if it sent none.

    Raises ProxyError (INVALID_REQUEST) unless it is a date.
    """
    given = headers.get(VERSION_HEADER, "").strip()
    if given and not _VERSION.fullmatch(given):
        message = f"{VERSION_HEADER}: Input should be a version such as {DEFAULT_API_VERSION}"
        raise ProxyError(FailureKind.INVALID_REQUEST, message, param=VERSION_HEADER)
    return given or DEFAULT_API_VERSION


def answered_version(headers: Mapping[str, str]) -> str:
    """Version for the response: that of the request, or the default if that is invalid."""
    try:
        return api_version(headers)
    except ProxyError:
        return DEFAULT_API_VERSION


def client_headers(headers: Mapping[str, str], *, betas: Sequence[str]) -> dict[str, str]:
    """The client's headers for the upstream, by lower-case name, `anthropic-beta` exactly as received.

    betas: names in that header, which has been checked; some may have been dropped.
    """
    chosen = _chosen(headers, UPSTREAM_HEADERS)
    if betas:
        given = headers.get(BETA_HEADER, "")
        received = sum(1 for name in given.split(",") if name.strip(" \t"))
        chosen[BETA_HEADER] = given if received == len(betas) else ",".join(betas)
    return chosen


def session_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Session and agent headers only, for requests that are translated."""
    return _chosen(headers, SESSION_HEADERS)


def _chosen(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    found = {name: headers.get(name, "") for name in names}
    return {name: value for name, value in found.items() if len(value) <= MAX_HEADER_CHARS and _VALUE.fullmatch(value)}
