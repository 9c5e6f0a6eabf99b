"""Where the work on a request's body is done: small bodies on the event loop, larger ones in threads.

A thread that runs Python gives the interpreter's lock back every `SWITCH_INTERVAL_S`, one call into C keeps it to its
end. So no call may be longer than 50 ms by itself, which the limits of `wire/values.py` see to. This module bounds how
many threads want the lock at once: one for bodies above `OFFLOAD_BYTES`, and one for those above `LARGE_BYTES`, so that
a medium body never waits for a large one.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

OFFLOAD_BYTES = 64 * 1024
"""Up to this size all the work on a body together takes less than 50 ms, whatever is in it."""
LARGE_BYTES = 1024 * 1024
SWITCH_INTERVAL_S = 0.0005
"""How long the event loop waits for a thread that runs Python, at each of the dozen times that a request needs the
interpreter's lock. With Python's own 5 ms, /healthz took 100 ms beside one large body."""

_P = ParamSpec("_P")
_R = TypeVar("_R")

_medium = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medium-body")
_large = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-body")


async def offload(size_bytes: int, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Does the work on a body of that size and gives its result; raises what it raises."""
    if size_bytes <= OFFLOAD_BYTES:
        return work(*args, **kwargs)
    thread = _medium if size_bytes <= LARGE_BYTES else _large
    return await asyncio.get_running_loop().run_in_executor(thread, lambda: work(*args, **kwargs))
