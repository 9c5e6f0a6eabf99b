"""Figures of the overview, read from the database every few seconds for all pages together."""

import time
from datetime import UTC, datetime

from observability.payloads import Overview, error_row, sparks, tiles
from observability.stats import figures, queries
from observability.vocabulary import Status

RECENT_S = 300
STEP_S = 10
FEED_ROWS = 20

_MINUTE_STEPS = 60 // STEP_S
_DAY_S = 24 * 3600
_HOUR_S = 3600


async def read_overview(now: float | None = None) -> Overview:
    """Tiles, sparklines and the last errors. Raises DatabaseError."""
    now = time.time() if now is None else now
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    # Including the current step, else the first request of an idle gateway would not show.
    recent = await figures.series(now - RECENT_S, STEP_S, now=now)
    latency = await figures.distribution(now - RECENT_S, now=now)
    hours = await figures.series(now - _DAY_S, _HOUR_S, now=now)
    failed = await queries.page(queries.TraceFilter(status=Status.ERROR), limit=FEED_ROWS)
    return {
        "tiles": tiles(
            last_minute=recent[-_MINUTE_STEPS - 1 :],
            recent=recent,
            latency=latency["ttft"],
            today=await figures.totals(midnight, now=now),
        ),
        "sparks": sparks(recent, hours),
        "errors": [error_row(trace) for trace in failed.traces],
    }
