"""Wait for a future or for a stop event, the first of the two."""

import asyncio
from typing import Any


async def first_of(future: asyncio.Future[Any], stopped: asyncio.Event, *, timeout_s: float | None = None) -> bool:
    """Wait for a future, an event or a timeout; True if the future is done.

    Leaves the future as it is: its result is not read, and it is never cancelled.
    """
    stop = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait((future, stop), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
    return future.done()
