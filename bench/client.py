"""An HTTP/1.1 client that costs next to nothing, so that what is measured is the server.

While the clock runs it only collects bytes and looks for two marks: the first delta, and the end of the answer. What
they mean is read afterwards.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.sse import BadAnswerError, dechunk

MESSAGES_DELTA = b"content_block_delta"
"""What the first delta of the Messages API's stream is known by."""

_LAST_CHUNK = b"\r\n0\r\n\r\n"  # JSON escapes line breaks, so no event holds this
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Seconds since the request was written; first_delta_s is None where no content was streamed.

    head: the status line and the headers as they came.
    """

    status: int
    body: bytes
    first_delta_s: float | None
    total_s: float
    head: bytes = b""

    def header(self, name: str) -> str | None:
        """The header's value; None where there is none of that name."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.strip().lower() == name.encode():
                return value.strip().decode("latin-1")
        return None


class Connection(asyncio.Protocol):
    """A kept-alive connection for one request at a time."""

    def __init__(self, first_delta: bytes = MESSAGES_DELTA) -> None:
        self._first_delta = first_delta
        self._received = bytearray()
        self._over: asyncio.Future[None] | None = None
        self._body_at = 0
        self._length: int | None = None
        self._searched = 0
        self._started_at = 0.0
        self._first_delta_s: float | None = None
        self._total_s = 0.0
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.open = True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has gone."""
        self.open = False
        if self._over is not None and not self._over.done():
            self._over.set_exception(BadAnswerError(f"the connection was lost in the middle of an answer: {error}"))

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        elapsed_s = time.perf_counter() - self._started_at
        self._received += data
        if self._first_delta_s is None:
            if self._received.find(self._first_delta, self._searched) >= 0:
                self._first_delta_s = elapsed_s
            self._searched = max(0, len(self._received) - len(self._first_delta))
        if self._over is not None and not self._over.done() and self._is_complete():
            self._total_s = elapsed_s
            self._over.set_result(None)

    async def post(self, path: str, body: bytes, *, headers: Mapping[str, str]) -> Reply:
        """Asks and waits for the whole answer. Raises BadAnswerError when the connection breaks."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        over = self._begin()
        self._transport.write(head.encode() + body)
        await over
        content = bytes(self._received[self._body_at :])
        status = int(self._received[9:12])
        whole = dechunk(content) if self._length is None else content
        return Reply(status, whole, self._first_delta_s, self._total_s, bytes(self._received[: self._body_at]))

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def abort(self) -> None:
        """Resets the connection: unread data is lost, and the server is informed."""
        self._transport.abort()

    def _begin(self) -> asyncio.Future[None]:
        """Forgets the last answer and starts the clock."""
        self._received.clear()
        self._body_at = self._searched = 0
        self._length = self._first_delta_s = None
        self._over = asyncio.get_running_loop().create_future()
        self._started_at = time.perf_counter()
        return self._over

    def _is_complete(self) -> bool:
        if not self._body_at:
            end = self._received.find(_HEAD_END)
            if end < 0:
                return False
            self._body_at = end + len(_HEAD_END)
            self._length = _content_length(bytes(self._received[:end]))
        if self._length is None:
            return self._received.endswith(_LAST_CHUNK)
        return len(self._received) >= self._body_at + self._length


def _content_length(head: bytes) -> int | None:
    """The body's length; None where it comes in chunks."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


class Connections:
    """Connections to one server: as many as are used at once, kept alive between requests.

    first_delta: the bytes that the first delta of a streamed answer is known by.
    """

    def __init__(self, host: str, port: int, *, first_delta: bytes = MESSAGES_DELTA) -> None:
        self._host = host
        self._port = port
        self._first_delta = first_delta
        self._idle: list[Connection] = []

    async def post(self, path: str, body: bytes, *, headers: Mapping[str, str]) -> Reply:
        """`Connection.post` on a connection that is free, or a new one."""
        connection = await self._take()
        reply = None
        try:
            reply = await connection.post(path, body, headers=headers)
            return reply
        finally:
            if reply is None:  # the rest of this answer must not be taken for the next one
                connection.close()
            else:
                self._idle.append(connection)

    def close(self) -> None:
        """Closes them all."""
        while self._idle:
            self._idle.pop().close()

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self._first_delta), self._host, self._port)
        return connection
