"""HTTP response of a run in any dialect: JSON or event stream, early errors, and client disconnects."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from apiproxy.conf import gateway_settings
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
from apiproxy.http.agent_header import with_agent
from apiproxy.http.sse import CONTENT_TYPE
from apiproxy.runs.run import Run

_POLL_S = 3600.0


class StreamEncoder(Protocol):
    """Encoder of one response stream in a dialect. Each method returns the bytes to send, possibly none."""

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        """Encodes upstream events, in order."""
        ...

    def finish(self) -> bytes:
        """End of a complete stream."""
        ...

    def failure(self, error: ProxyError) -> bytes:
        """Error in a stream that has started; nothing follows it."""
        ...

    def ping(self) -> bytes:
        """Keep-alive that clients do not take for content."""
        ...


class Dialect(Protocol):
    """Response format of a dialect."""

    def error_response(self, error: ProxyError, request_id: str) -> HttpResponse:
        """Error response with its status and headers."""
        ...

    def plain(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Body of a non-streaming response, from the complete message of the upstream."""
        ...


async def respond(run: Run, *, dialect: Dialect, encoder: StreamEncoder | None, heartbeat_s: float) -> HttpResponseBase:
    """Response to a run: an event stream where there is an encoder, else one JSON body.

    A client that disconnects stops the run: before the response is returned, Django cancels this coroutine; afterwards
    it calls `StreamBody.close`.
    """
    try:
        if encoder is None:
            return await _plain(run, dialect)
        events = await _first_events(run)
    except asyncio.CancelledError:
        run.stop(CancelReason.CLIENT_DISCONNECT)
        raise
    if events and (error := _error_of(events[0])) is not None:
        return with_agent(dialect.error_response(error, run.turn.id), run.turn, events[0])
    body = StreamBody(run, encoder, events, heartbeat_s=heartbeat_s)
    response = _EventStreamResponse(body, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return with_agent(_with_run_headers(response, run), run.turn)


async def _plain(run: Run, dialect: Dialect) -> HttpResponseBase:
    fold, received = MessageFold(), b""
    while True:
        for event in await run.event_buffer.take(_POLL_S):
            if isinstance(event, Streamed):
                fold.add(event.events)
                received += event.raw
            elif (error := _error_of(event)) is not None:
                return with_agent(dialect.error_response(error, run.turn.id), run.turn, event)
            elif isinstance(event, Finished):
                content = received or dumps(dialect.plain(fold.message))
                response = HttpResponse(content, content_type="application/json")
                return with_agent(_with_run_headers(response, run), run.turn, event)


def _with_run_headers(response: HttpResponseBase, run: Run) -> HttpResponseBase:
    """Add the upstream's headers and the times of the run."""
    for name, value in run.headers.items():
        response[name] = value
    response["Server-Timing"] = server_timing(run)
    return response


async def _first_events(run: Run) -> list[RunEvent]:
    """The first events; none after CLAUDE_PROXY_FIRST_BYTE_MS: the response then begins with a ping."""
    first_byte_ms = gateway_settings().first_byte_ms
    if first_byte_ms:
        return await run.event_buffer.take(first_byte_ms / 1000)
    while not (events := await run.event_buffer.take(_POLL_S)):
        pass
    return events


def _error_of(event: RunEvent) -> ProxyError | None:
    if isinstance(event, Failed):
        return event.error
    if isinstance(event, Cancelled):
        return ProxyError(FailureKind.CANCELLED, "The request was cancelled by the operator.")
    return None


class StreamBody:
    """Body of a streaming response.

    Not a generator: Django always calls `close`, from a worker thread, while a generator's `finally` did not run when
    the client disconnected during a send.
    """

    def __init__(self, run: Run, encoder: StreamEncoder, events: Iterable[RunEvent], *, heartbeat_s: float) -> None:
        self._run = run
        self._encoder = encoder
        self._ready: list[RunEvent] | None = list(events)  # empty after a timeout: starts with a ping
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._over = False

    def __aiter__(self) -> "StreamBody":
        return self

    async def aclose(self) -> None:
        """Called by Django when it stops iterating; `close` follows."""

    async def __anext__(self) -> bytes:
        while not self._over:
            events = await self._take() if self._ready is None else self._ready
            self._ready = None
            if chunk := b"".join(map(self._encode, events)) if events else self._encoder.ping():
                return chunk
        raise StopAsyncIteration

    def close(self) -> None:
        """Stops the run if it is still active. Called by Django at the end of the response, from any thread."""
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
            return event.raw or self._encoder.encode(event.events)
        self._over = True
        error = _error_of(event)
        return self._encoder.finish() if error is None else self._encoder.failure(error)


class _EventStreamResponse(StreamingHttpResponse):
    """Response whose body is iterated directly; Django's own wraps it into two generators, for each event."""

    def __init__(self, body: StreamBody, *, content_type: str) -> None:
        super().__init__(body, content_type=content_type)
        self._body = body

    def __aiter__(self) -> StreamBody:
        return self._body


def server_timing(run: Run) -> str:
    """Value of the `server-timing` header: the time to the first event by phase, in milliseconds."""
    marks = (run.turn.received_at, *(run.marks.get(kind) for kind in (Admitted, WorkerReady, Streamed)))
    parts = []
    for name, start, end in zip(("queue", "worker", "first"), marks, marks[1:], strict=False):
        if start is not None and end is not None:
            parts.append(f"{name};dur={max(0.0, end - start) * 1000:.1f}")
    return ", ".join(parts)
