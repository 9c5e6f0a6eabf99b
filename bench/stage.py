"""What a run of the benchmark stands on: the stand-in and the gateway as processes, and the three contestants."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.contestants import HttpContestant, QueryContestant
from bench.measure import load
from bench.questions import short
from tests.support.gateway import GatewayProcess
from tests.support.processes import children_of
from tests.support.stand_in import StandInProcess

CLIENTS = 8
_WARM_REQUESTS = 40
_MESSAGES = "/v1/messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured: rounds of each kind of scenario, and the counts in them."""

    rounds: int
    per_round: int
    load_rounds: int
    load_requests: int
    load_query_requests: int
    stream_rounds: int
    stream_deltas: int = 20_000
    max_tokens_turns: int
    memory_requests: int


FULL = Sizes(
    rounds=8,
    per_round=5,
    load_rounds=4,
    load_requests=96,
    load_query_requests=16,
    stream_rounds=5,
    max_tokens_turns=100,
    memory_requests=400,
)
QUICK = Sizes(
    rounds=2,
    per_round=3,
    load_rounds=1,
    load_requests=48,
    load_query_requests=8,
    stream_rounds=1,
    max_tokens_turns=8,
    memory_requests=40,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that a scenario may use. ours is warm; gateway is its process."""

    sizes: Sizes
    folder: Path
    stand_in: StandInProcess
    gateway: GatewayProcess
    ours: HttpContestant
    query: QueryContestant
    direct: HttpContestant

    def upstream_calls(self, *, since: int) -> int:
        """How many messages the stand-in was asked for after that mark. Blocks for some milliseconds."""
        return sum(1 for exchange in self.stand_in.recorded(since=since) if exchange.path == _MESSAGES)


@contextlib.asynccontextmanager
async def gateway_for(
    stand_in: StandInProcess,
    folder: Path,
    *,
    slots: int | None = None,
    env: Mapping[str, str] | None = None,
    manage: Sequence[str] = ("manage.py",),
) -> AsyncIterator[tuple[GatewayProcess, HttpContestant]]:
    """Warm gateway, stopped on exit. slots: default if None; env: more variables; manage: the command to run."""
    await asyncio.to_thread(folder.mkdir)
    set_slots = {} if slots is None else {"CLAUDE_PROXY_MAX_CONCURRENT": str(slots)}
    gateway = GatewayProcess(folder, upstream=stand_in.base_url, env={**set_slots, **(env or {})}, manage=manage)
    await asyncio.to_thread(gateway.start)
    contestant = HttpContestant(gateway.base_url, api_key=gateway.api_key, pid=gateway.pid)
    try:
        await load(lambda: contestant.ask(short()), clients=CLIENTS, requests=_WARM_REQUESTS)
        yield gateway, contestant
    finally:
        contestant.close()
        await asyncio.to_thread(gateway.stop)


@contextlib.asynccontextmanager
async def staged(folder: Path, sizes: Sizes) -> AsyncIterator[Stage]:
    """Starts what the scenarios need, and ends it."""
    stand_in = await asyncio.to_thread(StandInProcess, folder)
    try:
        direct = HttpContestant(stand_in.base_url)
        query = QueryContestant(stand_in.base_url, folder / "query")
        async with gateway_for(stand_in, folder / "gateway") as (gateway, ours):
            yield Stage(
                sizes=sizes,
                folder=folder,
                stand_in=stand_in,
                gateway=gateway,
                ours=ours,
                query=query,
                direct=direct,
            )
        direct.close()
    finally:
        await asyncio.to_thread(stand_in.stop)


def kill_the_rest() -> int:
    """Ends what was left below this process when it was broken off; how many there were."""
    left = children_of(os.getpid())
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(left)
