"""Waiting for the answer of a batch worker on the event loop."""

import asyncio
import logging
from typing import Any

from apiproxy.core.futures import awaitable
from apiproxy.db.batch_worker import BatchQueueFullError, BatchWorker
from apiproxy.db.guarded_query import DatabaseUnavailableError

logger = logging.getLogger(__name__)


async def answered_by(
    worker: "BatchWorker[Any]", job: Any, *, within_s: float, cannot: str, event: str, request_id: str
) -> Any:
    """Return a job's result.

    cannot: message of the error. event: name in the log for a failed job. Raises DatabaseUnavailableError if the worker
    fails or is full, the job fails, or takes longer than within_s.
    """
    if worker.failing:  # it retries its batch; waiting for it would only time out
        raise DatabaseUnavailableError(cannot)
    try:
        answer = awaitable(worker.call(job, timeout_s=within_s))
        async with asyncio.timeout(within_s):
            return await asyncio.shield(answer)  # a timeout must not cancel the future, which the worker resolves
    except (BatchQueueFullError, TimeoutError) as error:
        raise DatabaseUnavailableError(cannot) from error
    except Exception as error:  # any database error: without the answer the request would go wrong
        logger.warning(event, extra={"reqId": request_id}, exc_info=error)
        raise DatabaseUnavailableError(cannot) from error
