"""Budgets: which days one covers, and when it begins anew. Days are UTC's."""

from datetime import UTC, date, datetime, timedelta

from apiproxy.core.limits import Period

_DAY = timedelta(days=1)


def day_of(unix_s: float) -> date:
    """The day of a moment in Unix seconds."""
    return datetime.fromtimestamp(unix_s, tz=UTC).date()


def first_day(period: Period, day: date) -> date:
    """The first day of the period that this day is in."""
    if period is Period.TOTAL:
        return date.min
    return day if period is Period.DAY else day.replace(day=1)


def renewed_ms(period: Period, day: date) -> int | None:
    """When the budget begins anew, in Unix milliseconds; None: never."""
    if period is Period.TOTAL:
        return None
    next_day = day + _DAY if period is Period.DAY else (day.replace(day=1) + 31 * _DAY).replace(day=1)
    return int(datetime(next_day.year, next_day.month, next_day.day, tzinfo=UTC).timestamp() * 1000)
