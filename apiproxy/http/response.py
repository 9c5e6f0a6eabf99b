"""From a run to an HTTP response, in whatever dialect: the early errors, the stream, the fold, and the disconnects."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import (
    Admitted,
    Cancelled,
    CancelReason,
    Failed,
    Finished,
    RunEvent,
    Streamed,
    StreamEvent,
    WorkerReady,
)
from apiproxy.core.json_encoding import dumps
from apiproxy.core.message import MessageFold
from apiproxy.http.sse import CONTENT_TYPE
from apiproxy.runs.run import Run

FIRST_EVENT_GRACE_S = 40.0
"""How long a stream's status waits for the first event. Longer than the default queue limit, so that a request that
waits in vain gets a real 529, and shorter than the 60 s after which proxies in front of us give up on a silent
answer."""
_POLL_S = 3600.0


class StreamEncoder(Protocol):
    """One dialect's stream, for one response. Each method gives the bytes to send, possibly none."""

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        """Upstream events, in order."""
        ...

    def finish(self) -> bytes:
        """What follows the last event of a complete message."""
        ...

    def failure(self, error: ProxyError) -> bytes:
        """The error of a stream that has begun; nothing follows it."""
        ...

    def ping(self) -> bytes:
        """A sign of life that no client mistakes for content."""
        ...


class Dialect(Protocol):
    """What the wire needs to know of a dialect."""

    def error_response(self, error: ProxyError, request_id: str) -> HttpResponse:
        """The error as a response with its status and headers."""
        ...

    def plain(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body of a non-streaming answer for the folded message of the upstream."""
        ...


async def respond(run: Run, *, dialect: Dialect, encoder: StreamEncoder | None, heartbeat_s: float) -> HttpResponseBase:
    """The response to a run: a stream where there is an encoder, else one JSON body.

    When the client leaves before the response is returned, Django cancels this coroutine, and the run ends with it;
    afterwards the stream's own `close` does the same.
    """
    try:
        if encoder is None:
            return await _plain(run, dialect)
        events = await _first_events(run)
    except asyncio.CancelledError:
        run.stop(CancelReason.CLIENT_DISCONNECT)
        raise
    if events and (error := _error_of(events[0])) is not None:
        return dialect.error_response(error, run.turn.id)
    body = StreamBody(run, encoder, events, heartbeat_s=heartbeat_s)
    response = StreamingHttpResponse(body, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    response["Server-Timing"] = server_timing(run)
    return response


async def _plain(run: Run, dialect: Dialect) -> HttpResponse:
    fold = MessageFold()
    while True:
        for event in await run.event_buffer.take(_POLL_S):
            if isinstance(event, Streamed):
                fold.add(event.events)
            elif (error := _error_of(event)) is not None:
                return dialect.error_response(error, run.turn.id)
            elif isinstance(event, Finished):
                response = HttpResponse(dumps(dialect.plain(fold.message)), content_type="application/json")
                response["Server-Timing"] = server_timing(run)
                return response


async def _first_events(run: Run) -> list[RunEvent]:
    return await run.event_buffer.take(FIRST_EVENT_GRACE_S)


def _error_of(event: RunEvent) -> ProxyError | None:
    if isinstance(event, Failed):
        return event.error
    if isinstance(event, Cancelled):
        return ProxyError(FailureKind.CANCELLED, "The request was cancelled by the operator.")
    return None


class StreamBody:
    """The body of a streaming response.

    An object with `__anext__` and a plain `close`, not a generator: Django closes it in every case, from a worker
    thread, while the `finally` of a generator did not run when the client left during a send.
    """

    def __init__(self, run: Run, encoder: StreamEncoder, events: Iterable[RunEvent], *, heartbeat_s: float) -> None:
        self._run = run
        self._encoder = encoder
        self._ready: list[RunEvent] | None = list(events)  # empty: the grace is over, so a ping goes out at once
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._over = False

    def __aiter__(self) -> "StreamBody":
        return self

    async def __anext__(self) -> bytes:
        while not self._over:
            events = await self._take() if self._ready is None else self._ready
            self._ready = None
            if chunk := b"".join(map(self._encode, events)) if events else self._encoder.ping():
                return chunk
        raise StopAsyncIteration

    def close(self) -> None:
        """Ends the run if it still runs. Called by Django when the response is over, from whatever thread."""
        self._over = True
        self._loop.call_soon_threadsafe(self._run.stop, CancelReason.CLIENT_DISCONNECT)

    async def _take(self) -> list[RunEvent]:
        try:
            return await self._run.event_buffer.take(self._heartbeat_s)
        except asyncio.CancelledError:
            self._run.stop(CancelReason.CLIENT_DISCONNECT)
            raise

    def _encode(self, event: RunEvent) -> bytes:
        if isinstance(event, Streamed):
            return self._encoder.encode(event.events)
        self._over = True
        error = _error_of(event)
        return self._encoder.finish() if error is None else self._encoder.failure(error)


def server_timing(run: Run) -> str:
    """Where the time to the first event went, in milliseconds, for the `server-timing` header."""
    marks = (run.turn.received_at, *(run.marks.get(kind) for kind in (Admitted, WorkerReady, Streamed)))
    parts = []
    for name, start, end in zip(("queue", "worker", "first"), marks, marks[1:], strict=False):
        if start is not None and end is not None:
            parts.append(f"{name};dur={max(0.0, end - start) * 1000:.1f}")
    return ", ".join(parts)
