"""One turn over one HTTP request."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

import aiohttp

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.offload import offload
from apiproxy.engines.base import Batch, EngineRequest, Outcome
from apiproxy.engines.http.errors import LOST, error_of_response, lost_connection
from apiproxy.engines.http.payload import Piece, request_headers, response_headers
from apiproxy.engines.http.stream import EventStream
from apiproxy.engines.http.upstream import Upstream, whole_body

WHOLE_HEADERS_TIMEOUT_S = 600.0
"""For the headers of a response that is not streamed: they come with the answer. The API's own limit for these."""
_ERROR_TIMEOUT_S = 5.0
_MAX_ERROR_BYTES = 1024 * 1024
_MAX_WHOLE_BYTES = 64 * 1024 * 1024
_END_TIMEOUT_S = 1.0
"""Maximum time until a stream closes after its `message_stop`; its connection can then be used again."""


class HttpAnswer:
    """`engines.base.Answer` of an HTTP request. Created, started and released by one task."""

    pid = None
    stderr_tail = ""

    def __init__(self, request: EngineRequest, upstream: Upstream, pieces: list[Piece]) -> None:
        self._request = replace(request, body={}, raw_body=None)  # large, and freed once it has been sent
        self._upstream = upstream
        self._pieces = pieces
        self._stream = EventStream(verbatim=request.verbatim)
        self._sending: asyncio.Task[aiohttp.ClientResponse] | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._stopping = False
        self._headers: dict[str, str] = {}

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def stalls(self) -> bool:
        return self._request.stream

    @property
    def outcome(self) -> Outcome:
        assert self._stream.outcome is not None, "the answer is not over"
        return self._stream.outcome

    def start(self) -> None:
        """Begin to send the request; its result shows in `next_batch`."""
        self._sending = asyncio.create_task(self._send(), name=f"upstream request of {self._request.run_id}")

    async def next_batch(self) -> Batch | None:
        """Wait for bytes of the response; None at its end."""
        try:
            while self._stream.outcome is None and not self._stopping:
                if self._response is None:
                    batch = await self._begin()
                else:
                    batch = await self._read()
                if batch is not None and not self._stopping:
                    return batch
        except LOST as error:
            if not self._stopping:
                lost, unsent = lost_connection(error)
                self._stream.broken(lost, unsent=unsent)
        if self._stopping:
            self._stream.stopped()
        return None

    def stop(self) -> None:
        """End the upstream's call at once."""
        self._stopping = True
        if self._response is not None:
            self._response.close()
        elif self._sending is not None:
            self._sending.cancel()

    async def release(self) -> None:
        """Return the connection to the pool if the response has ended, else close it."""
        if self._sending is not None and self._response is None:
            self._sending.cancel()
            await asyncio.wait((self._sending,), timeout=_END_TIMEOUT_S)
            if self._sending.done() and not self._sending.cancelled() and self._sending.exception() is None:
                self._response = self._sending.result()
        if self._response is None:
            return
        self._response.close()  # without effect if it has ended, because its connection is in the pool then

    async def _send(self) -> aiohttp.ClientResponse:
        request = self._request
        async with asyncio.timeout(None if request.stream else WHOLE_HEADERS_TIMEOUT_S):
            return await self._upstream.post(
                "/v1/messages?beta=true" if request.beta_api else "/v1/messages",
                headers=request_headers(request, size_bytes=sum(map(len, self._pieces))),
                pieces=self._pieces,
                on_sent=request.on_sent,
            )

    async def _read(self) -> Batch | None:
        """Wait for bytes of the stream, and not for long once it is complete."""
        assert self._response is not None
        try:
            async with asyncio.timeout(_END_TIMEOUT_S if self._stream.complete else None):
                data = await self._response.content.readany()
        except TimeoutError:
            data = b""
        except RuntimeError as error:  # aiohttp's own, where the connection was closed by the engine
            raise aiohttp.ClientConnectionError(str(error)) from error
        return self._stream.feed(data) if data else self._stream.end()

    async def _begin(self) -> Batch | None:
        """Wait for the response's headers, and for the body of an error or of a response that is not streamed."""
        assert self._sending is not None
        await asyncio.wait((self._sending,))
        if self._sending.cancelled():
            return None
        response = self._response = self._sending.result()
        self._pieces = []
        self._headers = response_headers(response.headers)
        if self._stopping:
            response.close()
            return None
        if not response.ok or response.status >= 300:
            self._stream.broken(await self._error(response))
            return None
        if self._request.stream:
            if response.content_type != "text/event-stream":
                message = "The upstream's answer is not an event stream."
                self._stream.broken(ProxyError(FailureKind.CONNECTION_LOST, message))
            return None
        body = await whole_body(response, limit=_MAX_WHOLE_BYTES)
        if body is None:
            message = "The upstream's answer is too large."
            self._stream.broken(ProxyError(FailureKind.MAX_OUTPUT, message))
            return None
        return await offload(len(body), self._stream.whole, body)

    async def _error(self, response: aiohttp.ClientResponse) -> ProxyError:
        """The upstream's error; without its body if that takes too long or is too large."""
        body = None
        with contextlib.suppress(*LOST):
            async with asyncio.timeout(_ERROR_TIMEOUT_S):
                body = await whole_body(response, limit=_MAX_ERROR_BYTES)
        return error_of_response(response.status, body or b"", self._headers)
