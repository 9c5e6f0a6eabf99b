"""What the stand-in was asked: the last exchanges, for tests to look at."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_MAX_EXCHANGES = 2_000
_MAX_BYTES = 256 * 2**20


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and how it ended. Times are Unix seconds; ended_at is None while it is being answered.

    number counts from 1 since the start. raw is the body as it came. status is None until the response starts.
    closed_by_client: the client left before the answer was complete.
    """

    number: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    status: int | None = None
    closed_by_client: bool = False

    @property
    def body(self) -> Any:
        """The body's JSON, parsed anew each time; None where it is none."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return None

    def end(self, *, closed_by_client: bool) -> None:
        """Notes that the answer is over."""
        self.ended_at = time.time()
        self.closed_by_client = closed_by_client


class Recorder:
    """The last exchanges, bounded in number and in bytes of their bodies; the oldest go first."""

    def __init__(self, *, max_exchanges: int = _MAX_EXCHANGES, max_bytes: int = _MAX_BYTES) -> None:
        self._exchanges: deque[Exchange] = deque()
        self._max_exchanges = max_exchanges
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0

    @property
    def exchanges(self) -> list[Exchange]:
        """What is kept, oldest first."""
        return list(self._exchanges)

    @property
    def open(self) -> list[Exchange]:
        """Those of the kept that are still being answered."""
        return [exchange for exchange in self._exchanges if exchange.ended_at is None]

    def since(self, number: int, *, containing: bytes = b"") -> list[Exchange]:
        """The exchanges after that number whose raw body holds the bytes, oldest first."""
        return [it for it in self._exchanges if it.number > number and containing in it.raw]

    def begin(self, scope: Mapping[str, Any], raw: bytes) -> Exchange:
        """Keeps a request that has just come in, and forgets the oldest where there are too many."""
        self._count += 1
        exchange = Exchange(
            number=self._count,
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            raw=raw,
        )
        self._exchanges.append(exchange)
        self._bytes += len(raw)
        while len(self._exchanges) > self._max_exchanges or (
            self._bytes > self._max_bytes and len(self._exchanges) > 1
        ):
            self._bytes -= len(self._exchanges.popleft().raw)
        return exchange

    def clear(self) -> None:
        """Forgets everything kept so far; numbers go on."""
        self._exchanges.clear()
        self._bytes = 0
