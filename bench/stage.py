"""Stage of a benchmark: stand-in and gateway as processes, and the three contestants."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.contestants import HttpContestant, QueryContestant
from bench.gateways import gateway_for
from bench.targets import Targets
from tests.support.gateway import GatewayProcess
from tests.support.processes import children_of
from tests.support.stand_in import StandInProcess

_MESSAGES = "/v1/messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSizes:
    """Counts of the engine scenarios; fast and slow: requests of one round for fast and slow servers."""

    rounds: int
    level_rounds: int
    fast_requests: int
    slow_requests: int
    rate_requests: int
    stream_deltas: tuple[int, ...] = (20_000, 50_000)
    streams: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Amount of measurement: rounds of each kind of scenario, and the counts in them."""

    rounds: int
    per_round: int
    load_rounds: int
    load_requests: int
    load_query_requests: int
    stream_rounds: int
    stream_deltas: int = 20_000
    max_tokens_turns: int
    memory_requests: int
    engines: EngineSizes


FULL = Sizes(
    rounds=8,
    per_round=5,
    load_rounds=4,
    load_requests=96,
    load_query_requests=16,
    stream_rounds=5,
    max_tokens_turns=100,
    memory_requests=400,
    engines=EngineSizes(rounds=4, level_rounds=2, fast_requests=240, slow_requests=32, rate_requests=800),
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
    engines=EngineSizes(
        rounds=1,
        level_rounds=1,
        fast_requests=40,
        slow_requests=16,
        rate_requests=80,
        stream_deltas=(20_000,),
        streams=100,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything a scenario may use. ours: warm; gateway: its process."""

    sizes: Sizes
    folder: Path
    stand_in: StandInProcess
    gateway: GatewayProcess
    ours: HttpContestant
    query: QueryContestant
    direct: HttpContestant
    targets: Targets

    def upstream_calls(self, *, since: int) -> int:
        """Number of messages the stand-in was asked for after that mark. Blocks for some milliseconds."""
        return sum(1 for exchange in self.stand_in.recorded(since=since) if exchange.path == _MESSAGES)


@contextlib.asynccontextmanager
async def staged(folder: Path, sizes: Sizes, *, litellm_venv: Path | None = None) -> AsyncIterator[Stage]:
    """Starts what the scenarios need, and ends it. litellm_venv: an existing installation to use."""
    stand_in = await asyncio.to_thread(StandInProcess, folder)
    try:
        direct = HttpContestant(stand_in.base_url)
        query = QueryContestant(stand_in.base_url, folder / "query")
        async with (
            gateway_for(stand_in, folder / "gateway") as (gateway, ours),
            contextlib.aclosing(Targets(stand_in, gateway, folder, litellm_venv)) as targets,
        ):
            yield Stage(
                sizes=sizes,
                folder=folder,
                stand_in=stand_in,
                gateway=gateway,
                ours=ours,
                query=query,
                direct=direct,
                targets=targets,
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
