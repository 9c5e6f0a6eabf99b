"""A request while it comes in: its body is bounded, counted, and kept once."""

import io
from typing import Any

from daphne.http_protocol import WebRequest

from apiproxy.core.errors import ProxyError
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.server.body_memory import BodyMemory
from apiproxy.server.framing import TOO_LARGE


class IncomingRequest(WebRequest):  # type: ignore[misc]  # Daphne has no types
    """One HTTP request. body_limit: how many bytes its body may have."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.body_limit = MAX_BODY_BYTES
        self._received_bytes = 0
        self._memory: BodyMemory | None = None
        self._owner = ""
        self._held_bytes = 0
        self._dropped = False

    def admit(self, memory: BodyMemory, owner: str, size: int) -> None:
        """Lets the body come in, which takes from the owner's share of that memory from now on. Raises ProxyError."""
        self._memory, self._owner = memory, owner
        self._hold(size)

    def release(self) -> None:
        """Gives the memory back."""
        if self._held_bytes and self._memory is not None:
            self._memory.give_back(self._owner, self._held_bytes)
        self._held_bytes = 0

    def drop_body(self) -> None:
        """Forgets what has come of the body, and what still comes."""
        self._dropped = True
        self.content = io.BytesIO()
        self.release()

    def _hold(self, size: int) -> None:
        if size > 0 and self._memory is not None:
            self._memory.take(self._owner, size)
            self._held_bytes += size

    # Twisted tells how the body comes in.

    def gotLength(self, length: int | None) -> None:  # noqa: N802 — Twisted's name
        """The head is complete; length is the body's, None for a chunked one."""
        self.content = io.BytesIO()
        if length != 0:
            self.channel.body_announced(self, length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 — Twisted's name
        """A piece of the body."""
        if self._dropped:
            return
        self._received_bytes += len(data)
        try:
            if self._received_bytes > self.body_limit:
                raise TOO_LARGE
            self._hold(self._received_bytes - self._held_bytes)
        except ProxyError as error:
            self.channel.refuse_with(error)
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        """Hands it to the application, which has the only copy of the body from then on."""
        self.content = io.BytesIO(self.content.getvalue())  # not copied, and neither is what is read from it as a whole
        done = super().process()
        self.content = io.BytesIO()
        return done

    def finish(self) -> None:
        """The response is complete."""
        self.release()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 — Twisted's name
        """The connection is gone."""
        self.release()
        super().connectionLost(reason)
