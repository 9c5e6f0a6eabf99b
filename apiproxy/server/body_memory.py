"""Memory limit for request bodies in a process, shared fairly among clients. Pure."""

from collections import Counter

from apiproxy.core.errors import FailureKind, ProxyError

RETRY_AFTER_S = 2.0


class BodyMemory:
    """Bytes reserved for request bodies, from a request's headers to the end of its response.

    An owner may hold as much as is still free: one owner alone gets half of the memory, two get a third each, and an
    equal share stays free for the next. An owner that fills its share cannot starve others, however many there are.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._total = 0

    @property
    def held_bytes(self) -> int:
        return self._total

    def reserve(self, owner: str, size: int) -> None:
        """Reserves size more bytes for the owner.

        Raises ProxyError: RATE_LIMITED where the owner's own requests use up its share, QUEUE_FULL where others do.
        """
        held = self._held[owner]
        if held + size > self._max_bytes - self._total - size:
            self._drop_if_zero(owner)
            if held:
                message = "Too many large requests at once: retry when some have ended."
                raise ProxyError(FailureKind.RATE_LIMITED, message, retry_after_s=RETRY_AFTER_S)
            message = "The gateway has no memory for more large requests at the moment."
            raise ProxyError(FailureKind.QUEUE_FULL, message, retry_after_s=RETRY_AFTER_S)
        self._held[owner] = held + size
        self._total += size

    def release(self, owner: str, size: int) -> None:
        self._held[owner] -= size
        self._total -= size
        self._drop_if_zero(owner)

    def _drop_if_zero(self, owner: str) -> None:
        if not self._held[owner]:
            del self._held[owner]
