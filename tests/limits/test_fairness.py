"""A key with 200 queued requests does not delay the first request of another."""

import asyncio
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing

import httpx
import pytest

from tests.limits.gateways import Site, body
from tests.support.waiting import eventually_async

WAITING = 200
SLOTS = 4

pytestmark = [pytest.mark.xdist_group("limits"), pytest.mark.long]


async def test_give_next_free_slot_to_first_request_of_light_key(one_process: Site) -> None:
    gateway, mark = one_process.first, secrets.token_hex(8)
    limits = httpx.Limits(max_connections=WAITING + 11 * SLOTS)
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=120, limits=limits) as http:

        async def ask(name: str) -> int:
            headers = {"x-api-key": one_process.secrets[name], "x-conversation-id": f"{name} {mark}"}
            answer = await http.post("/v1/messages", json=body("[[say=hi]] [[first=2]]"), headers=headers)
            return answer.status_code

        async def many_wait() -> bool:
            answer = await http.get("/", headers={"x-api-key": gateway.api_key})
            return bool(answer.json()["queue"]["waiting"] >= WAITING)

        heavy = [asyncio.create_task(ask("heavy")) for _ in range(WAITING + 10 * SLOTS)]
        crowd: Callable[[], bool | Awaitable[bool]] = many_wait
        try:
            await eventually_async(crowd, within_s=60)
            assert await ask("light") == 200
        finally:
            for task in heavy:
                task.cancel()
            await asyncio.gather(*heavy, return_exceptions=True)

    def traced() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(f"file:{gateway.state_dir / 'db.sqlite3'}?mode=ro", uri=True)) as database:
            query = "SELECT queued_at, admitted_at FROM observability_trace WHERE conversation_id = ?"
            rows = database.execute(f"{query} AND admitted_at IS NOT NULL", (f"light {mark}",)).fetchall()
            if not rows:
                return []
            ((queued_at, admitted_at),) = rows
            between = database.execute(
                f"{query} AND admitted_at > ? AND admitted_at < ?", (f"heavy {mark}", queued_at, admitted_at)
            ).fetchall()
            return [(queued_at, admitted_at), *between]

    (queued_at, admitted_at), *before = await eventually_async(traced, within_s=20)
    assert queued_at < admitted_at, "it had to wait"
    assert not before, "the first slot that became free was another's"
