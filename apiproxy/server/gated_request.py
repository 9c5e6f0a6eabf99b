"""Connection that checks a request's key before it reads the request's body.

Twisted reads a body as soon as the head is there. Here nothing of it is read, and no `100 Continue` is sent, until the
key that the head carries is known to be good: bodies of clients without a key take no memory.
"""

import asyncio
import logging
from typing import Any, Protocol
from urllib.parse import unquote

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import new_id
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.server.body_memory import BodyMemory
from apiproxy.server.channel import RefusingChannel
from apiproxy.server.framing import TOO_LARGE, BoundedChunks, framing_fault

logger = logging.getLogger(__name__)

KEYLESS_BODY_BYTES = 1024 * 1024
"""The longest body of a request that needs no key: a form of the admin, or a path that takes no body at all."""

Scope = dict[str, Any]


class KeyGate(Protocol):
    """Decides which requests may send a body."""

    def takes_key(self, path: str) -> bool:
        """Whether every request to this path needs an API key."""
        ...

    def address_of(self, scope: Scope) -> str:
        """The network from which a request without a key comes, under which its body is counted."""
        ...

    async def admit(self, scope: Scope, *, request_id: str) -> str:
        """The key under which the body is counted. Raises ProxyError if the key of the request is not good."""
        ...

    def extra_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """Headers of a refusal for a script of that origin."""
        ...


_Channel: Any = RefusingChannel  # most of it has no types


class GatedChannel(_Channel):  # type: ignore[misc]  # see there
    """One connection. Its factory's server has `key_gate`, a KeyGate, and two of BodyMemory: `body_memory` for bodies
    whose key is good, `keyless_memory` for the others, which anybody can send."""

    _checking: asyncio.Task[None] | None = None
    _continue_is_due = False
    _gone = False

    def body_announced(self, request: Any, length: int | None) -> None:
        """The head of a request with a body is complete. length: the body's; None for one in chunks."""
        path = unquote(self._path_so_far())
        gate: KeyGate = self.factory.server.key_gate
        limit = MAX_BODY_BYTES if gate.takes_key(path) else KEYLESS_BODY_BYTES
        request.body_limit = limit
        if length is not None and length > limit:
            self.refuse_with(TOO_LARGE)
            return
        scope = self._scope(request, path, length)
        if limit == MAX_BODY_BYTES:
            self.paused = True  # Twisted's: what is in its buffer stays there
            self._networkProducer.pauseProducing()
            self._checking = asyncio.get_running_loop().create_task(self._check(request, scope, length))
        else:
            self._admit(request, self.factory.server.keyless_memory, gate.address_of(scope), length)

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

    async def _check(self, request: Any, scope: Scope, length: int | None) -> None:
        request_id = new_id("req_")
        try:
            owner = await self.factory.server.key_gate.admit(scope, request_id=request_id)
        except ProxyError as error:
            self._go_on()
            self.refuse_with(error, request_id=request_id)
        except Exception:  # there is nobody else to answer the client
            logger.exception("request.key_check_failed", extra={"reqId": request_id})
            self._go_on()
            self.refuse_with(ProxyError(FailureKind.INTERNAL, "Internal server error"), request_id=request_id)
        else:
            self._admit(request, self.factory.server.body_memory, owner, length)
            self._go_on()

    def _admit(self, request: Any, memory: BodyMemory, owner: str, length: int | None) -> None:
        try:
            request.admit(memory, owner, length or 0)
        except ProxyError as error:
            self.refuse_with(error)

    def _go_on(self) -> None:
        """Reads on, beginning with what had come with the head."""
        self._checking = None
        if self._gone:
            return
        if self._continue_is_due and not self._refused:
            super()._send100Continue()
        self._continue_is_due = False
        self.paused = False
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        asyncio.get_running_loop().call_soon(self._read_buffered)

    def _read_buffered(self) -> None:
        if not self._gone:
            self.dataReceived(b"")

    # What Twisted does.

    def _send100Continue(self) -> None:  # noqa: N802 - Twisted's name
        if self._checking is not None:
            self._continue_is_due = True
        elif not self._refused:
            super()._send100Continue()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Bytes of the client."""
        if self._checking is not None:  # the transport reads on by itself once an earlier answer has left
            self._networkProducer.pauseProducing()
        super().dataReceived(data)

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802 - Twisted's name
        """A header; False if it ends the request."""
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        seen = self.requests[-1].requestHeaders.hasHeader
        if (fault := framing_fault(name, value, version=self._version, seen=seen)) is not None:
            self.refuse_with(fault)
            return False
        good: bool = super().headerReceived(line)
        if good and name == b"transfer-encoding":
            request = self.requests[-1]
            self._transferDecoder = BoundedChunks(
                request.handleContentChunk,
                self._finishRequestBody,
                max_bytes=lambda: request.body_limit,
                refuse=self.refuse_with,
            )
        return good

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """The connection is gone."""
        self._gone = True
        if self._checking is not None:
            self._checking.cancel()
        super().connectionLost(reason)
