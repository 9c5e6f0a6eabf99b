"""Request whose body is bounded, accounted for, and kept only once."""

import io
from typing import Any

from daphne.http_protocol import WebRequest

from apiproxy.core.errors import ProxyError
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.server.body_memory import BodyMemory
from apiproxy.server.framing import TOO_LARGE


class IncomingRequest(WebRequest):  # type: ignore[misc]  # Daphne has no types
    """One HTTP request. body_limit: maximum size of its body in bytes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.body_limit = MAX_BODY_BYTES
        self._received_bytes = 0
        self._memory: BodyMemory | None = None
        self._owner = ""
        self._held_bytes = 0
        self._dropped = False

    def admit(self, memory: BodyMemory, owner: str, size: int) -> None:
        """Accepts the body and reserves memory for it in the owner's share.

        Raises ProxyError if the share is used up.
        """
        self._memory, self._owner = memory, owner
        self._reserve(size)

    def reserve_more(self, size: int) -> None:
        """Reserves memory for further bytes made from the body. Raises ProxyError as `admit` does."""
        if not (self.finished or self._disconnected):
            self._reserve(size)

    def release(self) -> None:
        if self._held_bytes and self._memory is not None:
            self._memory.release(self._owner, self._held_bytes)
        self._held_bytes = 0

    def drop_body(self) -> None:
        """Discards the body received so far, and the rest of it."""
        self._dropped = True
        self.content = io.BytesIO()
        self.release()

    def _reserve(self, size: int) -> None:
        if size > 0 and self._memory is not None:
            self._memory.reserve(self._owner, size)
            self._held_bytes += size

    # Twisted's callbacks.

    def gotLength(self, length: int | None) -> None:  # noqa: N802 — Twisted's name
        """Called when the headers are complete. length: None for a chunked body."""
        self.content = io.BytesIO()
        if length != 0:
            self.channel.body_announced(self, length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 — Twisted's name
        if self._dropped:
            return
        self._received_bytes += len(data)
        try:
            if self._received_bytes > self.body_limit:
                raise TOO_LARGE
            self._reserve(self._received_bytes - self._held_bytes)
        except ProxyError as error:
            self.channel.reject(error)
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        """Passes the request to the application, which then has the only copy of the body."""
        self.content = io.BytesIO(self.content.getvalue())  # shares the bytes, as does reading all of it
        done = super().process()
        self.content = io.BytesIO()
        return done

    def finish(self) -> None:
        self.release()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 — Twisted's name
        self.release()
        super().connectionLost(reason)
