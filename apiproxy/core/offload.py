"""Thread offloading for the work on large request bodies.

A thread that runs Python releases the GIL every `SWITCH_INTERVAL_S`; a call into C holds it until it returns, at most
50 ms thanks to the limits in `json_values.py`. Few threads compete for the GIL: one for bodies above `OFFLOAD_BYTES`
and one for those above `LARGE_BYTES`, so that a medium body never waits for a large one.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

OFFLOAD_BYTES = 64 * 1024
"""Up to this size, all work on any body takes less than 50 ms."""
LARGE_BYTES = 1024 * 1024
SWITCH_INTERVAL_S = 0.0005
"""GIL switch interval.

The event loop waits this long each of the dozen times that a request needs the GIL. With Python's default of 5 ms,
/healthz took 100 ms during one large body.
"""

_P = ParamSpec("_P")
_R = TypeVar("_R")

_medium = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medium-body")
_large = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-body")


async def offload(size_bytes: int, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Run the work on a body of that size in its thread, or right here if it is small."""
    if size_bytes <= OFFLOAD_BYTES:
        return work(*args, **kwargs)
    thread = _medium if size_bytes <= LARGE_BYTES else _large
    return await asyncio.get_running_loop().run_in_executor(thread, lambda: work(*args, **kwargs))
