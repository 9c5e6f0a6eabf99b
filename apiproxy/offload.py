"""Where the work on a request's body is done: small bodies on the event loop, larger ones in threads.

A thread that runs Python gives the interpreter's lock back every 5 ms, one call into C keeps it to its end. So no call
may be longer than 50 ms by itself, which the limits of `wire/values.py` see to; what this module bounds is how many
threads want the lock at once: of bodies above `LARGE_BYTES` one is worked on at a time.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

OFFLOAD_BYTES = 64 * 1024
"""Up to this size all the work on a body together takes less than 50 ms, whatever is in it."""
LARGE_BYTES = 1024 * 1024

_P = ParamSpec("_P")
_R = TypeVar("_R")

_large = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-body")


async def offload(size_bytes: int, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Does the work on a body of that size and gives its result; raises what it raises."""
    if size_bytes <= OFFLOAD_BYTES:
        return work(*args, **kwargs)
    if size_bytes <= LARGE_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_large, lambda: work(*args, **kwargs))
