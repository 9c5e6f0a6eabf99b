"""JSON of totals and percentiles."""

from collections.abc import Mapping

from observability.serialize.values import Json, iso_time
from observability.stats.figures import Group, Percentiles, Totals


def requests_json(totals: Totals, *, active: int) -> Json:
    """Totals over requests."""
    return {
        "total": totals.requests,
        "completed": totals.completed,
        "errors": totals.errors,
        "cancelled": totals.cancelled,
        "refused": totals.refused,
        "interrupted": totals.interrupted,
        "active": active,
        "errorRate": round(totals.error_rate, 4),
        "avgDurationMs": _whole(totals.avg_duration_ms),
        "avgTtftMs": _whole(totals.avg_ttft_ms),
        "avgQueueWaitMs": _whole(totals.avg_queue_ms),
        "maxDurationMs": totals.max_duration_ms,
        "charsPerSec": _whole(totals.chars_per_s),
        "tokensPerSec": _whole(totals.tokens_per_s),
        "stalls": totals.stalls,
        "retries": totals.retries,
        "usage": {
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "cache_read_input_tokens": totals.cache_read_tokens,
            "cache_creation_input_tokens": totals.cache_creation_tokens,
        },
        "costUsdEstimate": round(totals.cost_usd, 6),
        "unpricedRequests": totals.unpriced,
    }


def model_json(group: Group) -> Json:
    """Totals of one model."""
    totals = group.totals
    return {
        "total": totals.requests,
        "errors": totals.errors + totals.interrupted,
        "avgDurationMs": _whole(totals.avg_duration_ms),
        "avgTtftMs": _whole(totals.avg_ttft_ms),
        "maxDurationMs": totals.max_duration_ms,
        "charsPerSec": _whole(totals.chars_per_s),
        "tokensPerSec": _whole(totals.tokens_per_s),
        "outputTokens": totals.output_tokens,
        "costUsdEstimate": round(totals.cost_usd, 6),
        "unpricedRequests": totals.unpriced,
        "lastErrorAt": iso_time(group.last_error_at),
        "lastErrorReqId": group.last_error_id or None,
    }


def percentiles_json(distribution: Mapping[str, Percentiles]) -> Json:
    """Percentiles by metric."""
    names = {"queue": "queueWaitMs", "ttft": "ttftMs", "duration": "durationMs"}
    return {
        names[metric]: {share: None if value is None else round(value, 1) for share, value in shares.items()}
        for metric, shares in distribution.items()
    }


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)
