"""Budget periods: first day and reset time. Days are UTC."""

from datetime import UTC, date, datetime, timedelta

from apiproxy.core.limits import Period

_DAY = timedelta(days=1)


def day_of(unix_s: float) -> date:
    """UTC date of a Unix timestamp in seconds."""
    return datetime.fromtimestamp(unix_s, tz=UTC).date()


def first_day(period: Period, day: date) -> date:
    """First day of the period that contains `day`."""
    if period is Period.TOTAL:
        return date.min
    return day if period is Period.DAY else day.replace(day=1)


def resets_at_ms(period: Period, day: date) -> int | None:
    """Time of the next reset in Unix milliseconds; None: never."""
    if period is Period.TOTAL:
        return None
    next_day = day + _DAY if period is Period.DAY else (day.replace(day=1) + 31 * _DAY).replace(day=1)
    return int(datetime(next_day.year, next_day.month, next_day.day, tzinfo=UTC).timestamp() * 1000)
