"""Waiting for something to become true, with a deadline: never by sleeping for as long as it "should" take."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

_EVERY_S = 0.02


def eventually(predicate: Callable[[], T], *, within_s: float = 5.0, why: str = "") -> T:
    """The first true value of the predicate; AssertionError with its last value after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {why or predicate} (last: {value!r})"
        time.sleep(_EVERY_S)
    return value


@overload
async def eventually_async(
    predicate: Callable[[], Coroutine[Any, Any, T]], *, within_s: float = 5.0, why: str = ""
) -> T: ...
@overload
async def eventually_async(predicate: Callable[[], T], *, within_s: float = 5.0, why: str = "") -> T: ...
async def eventually_async(predicate: Callable[[], Any], *, within_s: float = 5.0, why: str = "") -> Any:
    """The same without blocking the event loop; the predicate may be a coroutine function."""
    deadline = time.monotonic() + within_s
    while True:
        outcome = predicate()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {why or predicate} (last: {value!r})"
        await asyncio.sleep(_EVERY_S)
