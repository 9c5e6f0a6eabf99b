"""Runs on the real engine, without Django: what a client would get, and what observers would hear."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

from apiproxy.core.events import Cancelled, Failed, Finished, Queued, RunEvent, Streamed, StreamEvent, Usage
from apiproxy.core.turns import Caller, Turn, new_id
from apiproxy.engines.base import AnswerSource
from apiproxy.runs.admission import Admission
from apiproxy.runs.circuit_breaker import Breaker, BreakerLimits
from apiproxy.runs.run import Run
from apiproxy.runs.run_limits import RunLimits
from tests.support.engine import MODEL, body_of, text_of

Ending = Finished | Failed | Cancelled

_END_S = 30.0


def limits(
    *,
    stall_timeout_s: float = 30,
    max_duration_s: float = 60,
    max_output_chars: int = 10**9,
    upstream_retries: int = 1,
) -> RunLimits:
    """Limits that no test meets by accident."""
    return RunLimits(
        stall_timeout_s=stall_timeout_s,
        max_duration_s=max_duration_s,
        max_output_chars=max_output_chars,
        upstream_retries=upstream_retries,
    )


def turn_of(prompt: str, *, key: int = 1, priority: int = 0, **fields: Any) -> Turn:
    """The turn that a client's prompt would become."""
    return Turn(
        id=new_id("req_"),
        dialect="anthropic",
        body=body_of(prompt, **fields),
        model=MODEL,
        requested_model="sonnet",
        stream=True,
        caller=Caller(key_id=key, key_label=f"key {key}", priority=priority),
        received_at=time.time(),
        body_bytes=len(prompt),
    )


@dataclass
class Started:
    """A run under way: its task, what observers heard, and what the client has read."""

    run: Run
    heard: list[RunEvent]
    task: "asyncio.Task[None]" = field(init=False)
    events: list[StreamEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.task = asyncio.create_task(self.run.execute())

    @property
    def text(self) -> str:
        """The text that the client has read."""
        return text_of(self.events)

    @property
    def ending(self) -> Ending:
        """The run's ending, as observed; AssertionError unless there was exactly one, and last."""
        endings = [event for event in self.heard if isinstance(event, Finished | Failed | Cancelled)]
        assert endings == self.heard[-1:], self.heard
        return endings[0]

    def kinds(self) -> list[type[RunEvent]]:
        """Kinds of observed events, without repetitions."""
        kinds = [type(event) for event in self.heard]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] is not kind]

    def last(self, kind: type[RunEvent]) -> Any:
        """The last event of that kind; None where there is none yet."""
        return next((event for event in reversed(self.heard) if isinstance(event, kind)), None)

    async def read_until(self, kind: type[RunEvent] = Streamed) -> None:
        """Reads as a client does, up to the first such event."""
        async with asyncio.timeout(_END_S):
            while True:
                events = await self.run.event_buffer.take(_END_S)
                self._read(events)
                if any(isinstance(event, kind) for event in events):
                    return

    async def read_to_the_end(self) -> Ending:
        """Reads as a client does; the ending that it gets, once the slot is free again."""
        async with asyncio.timeout(_END_S):
            while True:
                events = await self.run.event_buffer.take(_END_S)
                self._read(events)
                if events and isinstance(events[-1], Finished | Failed | Cancelled):
                    await self.task
                    return events[-1]

    async def over(self) -> Ending:
        """The ending, where no client reads."""
        async with asyncio.timeout(_END_S):
            await self.task
        return self.ending

    def _read(self, events: list[RunEvent]) -> None:
        for event in events:
            if isinstance(event, Streamed):
                self.events += event.events


@dataclass
class RunDesk:
    """Starts runs on an engine, with an admission of its own."""

    engine: AnswerSource
    slots: int = 4
    wait_limit_s: float = 30
    starting: int | None = None
    breaker: Breaker = field(default_factory=lambda: Breaker(BreakerLimits(failures=0, window_s=1, open_s=1)))
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(
            max_active=self.slots, max_waiting=10, wait_limit_s=self.wait_limit_s, max_starting=self.starting
        )

    def start(self, turn: Turn, run_limits: RunLimits | None = None) -> Started:
        """A run whose owner task has begun."""
        heard: list[RunEvent] = []
        run = Run(
            turn,
            engine=self.engine,
            admission=self.admission,
            breaker=self.breaker,
            limits=run_limits or limits(),
            publish=lambda _, event: heard.append(event),
            price=_price,
            estimate=_estimate,
        )
        return Started(run, heard)

    def free(self) -> bool:
        """True if no slot is taken and no run waits."""
        snapshot = self.admission.snapshot()
        return (snapshot.active, snapshot.waiting) == (0, 0)


ESTIMATED = 1_000


async def _estimate(turn: Turn) -> Usage:
    return Usage(input_tokens=ESTIMATED, estimated=True)


def _price(turn: Turn, usage: Usage) -> Usage:
    return replace(usage, cost_usd=float(usage.output_tokens))


__all__ = ["ESTIMATED", "Ending", "Queued", "RunDesk", "Started", "limits", "turn_of"]
