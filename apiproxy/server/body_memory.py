"""Bound on the memory that request bodies take in a process, shared fairly among those who send them. Pure."""

from collections import Counter

from apiproxy.core.errors import FailureKind, ProxyError

RETRY_S = 2.0


class BodyMemory:
    """Bytes held for request bodies, from the head of a request to the end of its response.

    An owner may hold as much as is still free. One owner alone gets half of the memory, two get a third each, and as
    much again always stays free for the next: an owner who fills its share cannot starve the others, and nothing has to
    be known about how many there are.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._total = 0

    @property
    def held_bytes(self) -> int:
        """The sum over all owners."""
        return self._total

    def take(self, owner: str, size: int) -> None:
        """Counts size more bytes for the owner. Raises ProxyError: RATE_LIMITED, QUEUE_FULL."""
        held = self._held[owner]
        if held + size > self._max_bytes - self._total - size:
            self._forget_if_empty(owner)
            if held:
                message = "Too many large requests at once: wait for some to end."
                raise ProxyError(FailureKind.RATE_LIMITED, message, retry_after_s=RETRY_S)
            message = "The gateway holds too many large requests at the moment."
            raise ProxyError(FailureKind.QUEUE_FULL, message, retry_after_s=RETRY_S)
        self._held[owner] = held + size
        self._total += size

    def give_back(self, owner: str, size: int) -> None:
        """Frees what was taken."""
        self._held[owner] -= size
        self._total -= size
        self._forget_if_empty(owner)

    def _forget_if_empty(self, owner: str) -> None:
        if not self._held[owner]:
            del self._held[owner]
