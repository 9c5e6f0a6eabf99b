"""503 responses from the supervisor itself, while no serve process accepts connections."""

import asyncio
import socket

_BACKLOG = 1_024
_LINGER_S = 2.0
"""Time for a client to stop sending. Closing with unread input resets the connection and loses the response."""
_READ_BYTES = 65_536
_BODY = (
    b'{"type":"error","error":{"type":"overloaded_error","code":"unavailable",'
    b'"message":"The gateway is starting. Try again in a moment."}}'
)
_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Retry-After: 2\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)


class UnavailableResponder:
    """Answers every connection with the same 503, from `open` to `close`. Both are idempotent."""

    def __init__(self, *listeners: socket.socket) -> None:
        self._listeners = listeners
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        for listener in self._listeners[len(self._servers) :]:
            self._servers.append(await asyncio.start_server(_respond, sock=listener.dup(), backlog=_BACKLOG))

    def close(self) -> None:
        while self._servers:
            self._servers.pop().close()


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_LINGER_S):
            if await reader.read(_READ_BYTES):
                writer.write(_RESPONSE)
                writer.write_eof()
                while await reader.read(_READ_BYTES):
                    pass
    except (TimeoutError, OSError):  # the client is slow, or has disconnected
        pass
    finally:
        writer.close()
