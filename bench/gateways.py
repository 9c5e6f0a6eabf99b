"""Gateways of the benchmark."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from bench.contestants import HttpContestant
from bench.measure import load
from bench.questions import short
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

CLIENTS = 8
_WARM_REQUESTS = 40


@contextlib.asynccontextmanager
async def gateway_for(
    stand_in: StandInProcess,
    folder: Path,
    *,
    slots: int | None = None,
    env: Mapping[str, str] | None = None,
    manage: Sequence[str] = ("manage.py",),
    migrated: bool | None = None,
) -> AsyncIterator[tuple[GatewayProcess, HttpContestant]]:
    """Warm gateway, stopped on exit. slots: default if None; env: more variables; manage: the command to run.

    migrated: see `GatewayProcess`.
    """
    await asyncio.to_thread(folder.mkdir)
    set_slots = {} if slots is None else {"CLAUDE_PROXY_MAX_CONCURRENT": str(slots)}
    gateway = GatewayProcess(
        folder, upstream=stand_in.base_url, env={**set_slots, **(env or {})}, manage=manage, migrated=migrated
    )
    await asyncio.to_thread(gateway.start)
    contestant = HttpContestant(gateway.base_url, api_key=gateway.api_key, pid=gateway.pid)
    try:
        await load(lambda: contestant.ask(short()), clients=CLIENTS, requests=_WARM_REQUESTS)
        yield gateway, contestant
    finally:
        contestant.close()
        await asyncio.to_thread(gateway.stop)
