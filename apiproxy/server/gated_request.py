"""HTTP channel that authenticates a request before it reads the request's body.

Twisted reads a body as soon as it has the headers. Here no body byte is read, and no `100 Continue` sent, until the API
key in the headers has been checked: bodies of clients without a key take no memory.
"""

import asyncio
import logging
from typing import Any, Protocol
from urllib.parse import unquote

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import new_id
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.server.body_memory import BodyMemory
from apiproxy.server.connection import JsonErrorChannel
from apiproxy.server.framing import TOO_LARGE, BoundedChunks, framing_fault

logger = logging.getLogger(__name__)

KEYLESS_BODY_BYTES = 1024 * 1024
"""Maximum body of a request that needs no key: an admin form, or a path that takes no body at all."""

Scope = dict[str, Any]


class KeyGate(Protocol):
    """Decides which requests may send a body."""

    def requires_key(self, path: str) -> bool:
        """True if every request to this path needs an API key."""
        ...

    def client_network(self, scope: Scope) -> str:
        """The client's network, which a body without a key is accounted to."""
        ...

    async def authenticate(self, scope: Scope, *, request_id: str) -> str:
        """The key that the body is accounted to. Raises ProxyError where the request has no valid key."""
        ...

    def cors_headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Headers that let a script of that origin read an error response. None: the origin is not known."""
        ...


_Channel: Any = JsonErrorChannel  # Twisted's part of it has no types


class KeyGateChannel(_Channel):  # type: ignore[misc]  # see there
    """One connection.

    `factory.server` also has `rounds`, `body_memory` for authenticated bodies and `keyless_memory` for others.
    Clients without a key can send the others, so they must not use up the memory of clients with a key.
    """

    _checking: asyncio.Task[None] | None = None
    _continue_is_due = False
    _closed = False

    def body_announced(self, request: Any, length: int | None) -> None:
        """Called when the headers of a request with a body are complete. length: None for a chunked body."""
        path = unquote(self._path_so_far())
        gate: KeyGate = self.factory.server.key_gate
        limit = MAX_BODY_BYTES if gate.requires_key(path) else KEYLESS_BODY_BYTES
        request.body_limit = limit
        if length is not None and length > limit:
            self.reject(TOO_LARGE)
            return
        scope = self._scope(request, path, length)
        if limit == MAX_BODY_BYTES:
            self.paused = True  # Twisted's flag: keeps what is buffered already
            self._networkProducer.pauseProducing()
            self._checking = asyncio.get_running_loop().create_task(self._check_key(request, scope, length))
        else:
            self._admit(request, self.factory.server.keyless_memory, gate.client_network(scope), length)

    def _scope(self, request: Any, path: str, length: int | None) -> Scope:
        peer = self.transport.getPeer()
        headers = [
            (name.lower(), value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            if b"_" not in name  # as Daphne does
            for value in values
        ]
        return {
            "type": "http",
            "method": self._command.decode("ascii", "replace"),
            "path": path,
            "query_string": b"",
            "headers": headers,
            "client": [str(getattr(peer, "host", "")), getattr(peer, "port", 0)],
            "body_bytes": length,
        }

    async def _check_key(self, request: Any, scope: Scope, length: int | None) -> None:
        request_id = new_id("req_")
        try:
            await self.factory.server.rounds.enter()
            owner = await self.factory.server.key_gate.authenticate(scope, request_id=request_id)
        except ProxyError as error:
            self._resume_reading()
            self.reject(error, request_id=request_id)
        except Exception:  # else the client would never get an answer
            logger.exception("request.key_check_failed", extra={"reqId": request_id})
            self._resume_reading()
            self.reject(ProxyError(FailureKind.INTERNAL, "Internal server error"), request_id=request_id)
        else:
            self._admit(request, self.factory.server.body_memory, owner, length)
            self._resume_reading()

    def _admit(self, request: Any, memory: BodyMemory, owner: str, length: int | None) -> None:
        try:
            request.admit(memory, owner, length or 0)
        except ProxyError as error:
            self.reject(error)

    def _resume_reading(self) -> None:
        """Resumes with the data received together with the headers."""
        self._checking = None
        if self._closed:
            return
        if self._continue_is_due and not self._rejected:
            super()._send100Continue()
        self._continue_is_due = False
        self.paused = False
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        asyncio.get_running_loop().call_soon(self._read_buffered)

    def _read_buffered(self) -> None:
        if not self._closed:
            self.dataReceived(b"")

    # Twisted's methods.

    def _send100Continue(self) -> None:  # noqa: N802 - Twisted's name
        if self._checking is not None:
            self._continue_is_due = True
        elif not self._rejected:
            super()._send100Continue()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self._checking is not None:  # the transport resumes by itself once an earlier response has been sent
            self._networkProducer.pauseProducing()
        super().dataReceived(data)

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802 - Twisted's name
        """Checks the headers that frame the body. Returns False where one ends the request."""
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        seen = self.requests[-1].requestHeaders.hasHeader
        if (fault := framing_fault(name, value, version=self._version, seen=seen)) is not None:
            self.reject(fault)
            return False
        valid: bool = super().headerReceived(line)
        if valid and name == b"transfer-encoding":
            request = self.requests[-1]
            self._transferDecoder = BoundedChunks(
                request.handleContentChunk,
                self._finishRequestBody,
                max_bytes=lambda: request.body_limit,
                reject=self.reject,
            )
        return valid

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        self._closed = True
        if self._checking is not None:
            self._checking.cancel()
        super().connectionLost(reason)
