"""An upstream that sends exactly the bytes that a test wants, on the test's own loop."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","model":"m","usage":{}}}\n\n'
END = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


@dataclass
class Connection:
    """A connection of the client. number: from 1. heads: of the requests on it, bodies: the same."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def head(self) -> str:
        """The next request's line and headers; IncompleteReadError at the connection's end."""
        self.heads.append((await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        return self.heads[-1]

    async def request(self) -> str:
        """The next request, its body read too."""
        head = await self.head()
        size = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
        self.bodies.append(await self.reader.readexactly(int(size.partition(":")[2])))
        return head

    async def send(self, *parts: bytes) -> None:
        """Write the parts, each on its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def chunk(self, *parts: bytes) -> None:
        """The parts as chunks of a body."""
        await self.send(*(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))

    async def left(self) -> None:
        """Wait until the client has closed."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65_536):
                pass
        self.closed.set()

    def header(self, name: str) -> list[str]:
        """Values of that header in the last request."""
        lines = [line.partition(": ") for line in self.heads[-1].split("\r\n")[1:]]
        return [value for found, _, value in lines if found.lower() == name]


Play = Callable[[Connection], Awaitable[None]]


@dataclass
class RawUpstream:
    """A server on a port of this machine; `play` answers a connection, which is closed when it returns."""

    base_url: str
    connections: list[Connection] = field(default_factory=list)


@contextlib.asynccontextmanager
async def raw_upstream(play: Play, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawUpstream]:
    """Serve until the block ends. Connections that are left then are aborted."""
    upstream = RawUpstream("")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connection = Connection(len(upstream.connections) + 1, reader, writer)
        upstream.connections.append(connection)
        try:
            await play(connection)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            connection.closed.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    scheme = "http" if tls is None else "https"
    upstream.base_url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def plain(status: str, body: bytes, *headers: str) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
