"""Retries of a run, which are made only before its first event."""

import random

from apiproxy.core.errors import FailureKind, ProxyError

_WORKER_RETRIES = 2
"""Retries on another worker when the process died before its first event; they cost the upstream nothing."""
_RETRY_PAUSE_S = 0.25
_RETRIED_STATUSES = frozenset({500, 529})


class Retries:
    """Retries that a run has left. upstream: for failures of the upstream."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._worker = _WORKER_RETRIES

    def allow(self, error: ProxyError) -> bool:
        """True if the run may be retried after this error."""
        if error.kind is FailureKind.WORKER_DIED:
            return self._worker > 0
        return self._upstream > 0 and _is_transient(error)

    def spend(self, error: ProxyError) -> None:
        """Count the retry after this error."""
        if error.kind is FailureKind.WORKER_DIED:
            self._worker -= 1
        else:
            self._upstream -= 1


def pause_s() -> float:
    """Seconds to wait before a retry at the upstream."""
    return _RETRY_PAUSE_S * (0.5 + random.random())  # noqa: S311 — jitter, not a secret


def _is_transient(error: ProxyError) -> bool:
    upstream = error.upstream
    if upstream is None:
        return error.kind is FailureKind.CONNECTION_LOST
    return upstream.status in _RETRIED_STATUSES and upstream.headers.get("x-should-retry") != "false"
