"""A soak's records in the gateway's database: traces, usage, reservations. Blocking."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_TIMES = """
SELECT (julianday(first_token_at) - julianday(admitted_at)) * 86400.0 FROM observability_trace
WHERE user_agent LIKE ? || '/%' AND substr(user_agent, length(?) + 2) IN (SELECT value FROM json_each(?))
  AND status = 'completed' AND first_token_at IS NOT NULL AND admitted_at IS NOT NULL
"""
_TRACES = """
SELECT substr(user_agent, length(?) + 2), count(*) FROM observability_trace WHERE user_agent LIKE ? || '/%' GROUP BY 1
"""
_NOT_OVER = "SELECT count(*) FROM observability_trace WHERE status = 'active'"
_BILLED = """
SELECT count(*) FROM observability_trace
WHERE key_id IS NOT NULL AND status NOT IN ('refused', 'active') AND error_type NOT IN ('queue_full', 'queue_timeout')
"""
_ERRORS = """
SELECT status || ' ' || error_type || ' ' || error_phase || ' ' || coalesce(upstream_status, ''), count(*)
FROM observability_trace WHERE error_type != '' GROUP BY 1 ORDER BY 2 DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """traces: by kind of request. billed: traces of requests that count as used. used: the requests in `Usage`.

    errors: traces by status, error, phase and the upstream's status.
    """

    traces: Mapping[str, int]
    not_over: int
    billed: int
    used: int
    reserved: int
    errors: Mapping[str, int]

    @property
    def closed(self) -> bool:
        """True if all is written that belongs together."""
        return not self.not_over and not self.reserved and self.billed == self.used


def read(database: Path, agent: str) -> Books:
    """The books; traces: those of that agent (the part before the kind)."""
    with closing(_open(database)) as connection:

        def number(query: str) -> int:
            return int(connection.execute(query).fetchone()[0])

        return Books(
            traces=dict(connection.execute(_TRACES, (agent, agent)).fetchall()),
            not_over=number(_NOT_OVER),
            billed=number(_BILLED),
            used=number("SELECT coalesce(sum(requests), 0) FROM apiproxy_usage"),
            reserved=number("SELECT count(*) FROM apiproxy_reservation WHERE settled_ms IS NULL"),
            errors={" ".join(str(name).split()): count for name, count in connection.execute(_ERRORS)},
        )


def first_token_s(database: Path, agent: str, kinds: str) -> list[float]:
    """Seconds from admission to first token of that agent's streams; kinds: their names, as a JSON list."""
    with closing(_open(database)) as connection:
        return [float(row[0]) for row in connection.execute(_TIMES, (agent, agent, kinds))]


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
