"""Pre-started workers of agents: how long they are kept, and for whom."""

import functools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from apiproxy.core.addresses import checked_addresses
from apiproxy.core.agents import AgentSpec
from apiproxy.engines.agents.pool import MAX_IDLE_S, AgentLimits, AgentPool
from tests.support.agent_lab import agent, agent_lab
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.long

KEPT = agent(min_idle=1)
START_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pool(tmp_path: Path, clock: Clock) -> AsyncIterator[AgentPool]:
    async with agent_lab(tmp_path / "agents") as lab:
        pool = AgentPool(
            places=lab.engine._pool._places,
            resolve=functools.partial(checked_addresses, private_hosts=()),
            limits=AgentLimits(max_workers=2),
            monotonic=clock,
        )
        yield pool
        await pool.close()
        assert lab.left_behind() == []


async def idle_of(pool: AgentPool, *agents: AgentSpec) -> list[str]:
    """Ids of the idle workers, once there is one of each of these agents and no other."""

    def names() -> list[str]:
        return sorted(f"{worker.agent.name} {worker.state}" for worker in pool.workers)

    await eventually_async(lambda: names() == sorted(f"{it.name} idle" for it in agents), within_s=START_S)
    return [worker.id for worker in pool.workers]


async def test_replace_workers_that_waited_too_long(pool: AgentPool, clock: Clock) -> None:
    pool.keep([KEPT])
    before = await idle_of(pool, KEPT)
    clock.now += MAX_IDLE_S + 1
    pool.keep([KEPT])

    await eventually_async(lambda: before[0] not in {worker.id for worker in pool.workers}, within_s=START_S)
    assert await idle_of(pool, KEPT) != before


async def test_replace_workers_of_changed_definitions(pool: AgentPool) -> None:
    pool.keep([KEPT])
    await idle_of(pool, KEPT)
    changed = replace(KEPT, version=4)
    pool.keep([changed])

    await idle_of(pool, changed)


async def test_keep_workers_while_old_version_is_used(pool: AgentPool) -> None:
    pool.keep([KEPT])
    before = await idle_of(pool, KEPT)
    old = await pool.take(replace(KEPT, version=1))

    assert {worker.id for worker in pool.workers} == {*before, old.id}


async def test_make_room_for_a_run(pool: AgentPool) -> None:
    other = agent(slug="other", min_idle=1)
    pool.keep([KEPT, other])
    await idle_of(pool, KEPT, other)
    worker = await pool.take(agent(slug="third"))

    await eventually_async(lambda: len(list(pool.workers)) == 2, within_s=START_S)
    assert worker.id in {it.id for it in pool.workers}


async def test_replace_idle_workers_that_died(pool: AgentPool) -> None:
    pool.keep([KEPT])
    before = await idle_of(pool, KEPT)
    idle = next(iter(pool.workers))
    idle.kill()
    await eventually_async(lambda: not idle.alive)
    worker = await pool.take(KEPT)

    assert worker.id not in before
    assert worker.alive
