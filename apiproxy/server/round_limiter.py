"""Limit on the requests that begin in each round of the event loop.

In a round the loop runs everything that is ready. Under overload that would be a hundred new requests, most of them to
be rejected, and an answer under way needs several rounds for each of its steps.
"""

import asyncio
from collections import deque

PER_ROUND = 2
"""A request takes about a millisecond in all, so a round lasts a few."""


class RoundLimiter:
    """Lets requests begin in the order of their arrival. Bound to one event loop."""

    def __init__(self, per_round: int = PER_ROUND) -> None:
        self._per_round = per_round
        self._left = per_round
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def enter(self) -> None:
        """Wait for the request's round; not at all if few have begun in this one."""
        if self._left and not self._waiting:
            self._left -= 1
            self._schedule()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._scheduled = False
        self._left = self._per_round
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # else its client has left
                turn.set_result(None)
                self._left -= 1
        if self._left < self._per_round:
            self._schedule()
