"""Futures whose result may never be read."""

import asyncio
from concurrent.futures import Future
from typing import Any


def awaitable(answer: "Future[Any]") -> "asyncio.Future[Any]":
    """Future on this loop; no asyncio warning if its exception is never read."""
    wrapped = asyncio.wrap_future(answer)
    wrapped.add_done_callback(retrieve)
    return wrapped


def retrieve(future: "asyncio.Future[Any]") -> None:
    """Read the exception of an abandoned future, else asyncio warns about it. A done callback."""
    if not future.cancelled():
        future.exception()
