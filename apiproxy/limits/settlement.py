"""Settlement of runs.

Reservations end first, so that a bad figure cannot keep one open.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from django.db import InterfaceError, OperationalError, transaction

from apiproxy.limits import usage
from apiproxy.limits.jobs import Settle
from apiproxy.models import ApiKey, Reservation

logger = logging.getLogger(__name__)


def settle(settles: Sequence[Settle], now_ms: int) -> int:
    """End reservations and add usage; return the number of runs that failed.

    Must be called in a transaction that has locked the runs' keys.
    """
    for job in settles:
        if job.reserved:
            Reservation.objects.filter(pk=job.run_id).update(settled_ms=now_ms, tokens=job.tokens, micro_usd=0)
    _all_or_each(_note_first_use, [job for job in settles if job.first_used is not None])
    return _all_or_each(_add_usage, settles)


def _all_or_each(work: Callable[[Sequence[Settle]], None], settles: Sequence[Settle]) -> int:
    """Do the work for all, or on error for each; return the number of failures."""
    if not settles:
        return 0
    try:
        with transaction.atomic():
            work(settles)
    except (OperationalError, InterfaceError):
        raise  # database unavailable: the batch is retried
    except Exception as error:  # one bad figure must not keep reservations open for ever
        if len(settles) > 1:
            return sum(_all_or_each(work, [job]) for job in settles)
        extra = {"reqId": settles[0].run_id, "key": settles[0].entry.key_label}
        logger.error("settlement.dropped", extra=extra, exc_info=error)
        return 1
    return 0


def _note_first_use(settles: Sequence[Settle]) -> None:
    for job in settles:
        assert job.first_used is not None
        at, address = job.first_used
        unseen = ApiKey.objects.filter(pk=job.entry.row.key_id, first_used_at=None)
        unseen.update(first_used_at=datetime.fromtimestamp(at, tz=UTC), first_used_from=address[:64])


def _add_usage(settles: Sequence[Settle]) -> None:
    usage.add(job.entry for job in settles)
