"""Usage accounting: reservation and settlement of turns."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from pytest_django import DjangoDbBlocker

from apiproxy.catalog import Catalog
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Cancelled, CancelReason, Ending, Failed, Finished, Usage
from apiproxy.core.limits import NO_STATE, LimitError, LimitState
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Caller, Turn, new_id
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.limits.accounting import UsageAccounting
from apiproxy.models import ApiKey, Reservation
from apiproxy.models import Usage as UsageRow
from tests.limits.support import make_key

pytestmark = pytest.mark.django_db(transaction=True)

USED = Usage(input_tokens=100, output_tokens=20, cache_read_input_tokens=1000, cost_usd=0.0002)
FINISHED = Finished(0.0, "end_turn", USED)


@pytest.fixture
async def usage_accounting() -> AsyncIterator[UsageAccounting]:
    made = UsageAccounting(Catalog(QueryGuard()))
    yield made
    await made.stop()


def turn_of(key: ApiKey, model: str = "claude-haiku-4-5") -> Turn:
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    caller = Caller(key_id=key.pk, key_label=key.name, client_ip="192.0.2.7")
    return Turn(
        id=new_id("req_"),
        dialect="anthropic",
        body=body,
        model=model,
        requested_model=model,
        stream=False,
        caller=caller,
        received_at=time.time(),
        body_bytes=100,
    )


async def key_with(**limits: Any) -> tuple[ApiKey, Principal]:
    key = await sync_to_async(make_key)(**limits)
    return key, Principal(key_id=key.pk, label=key.name, scopes=frozenset({"api"}), limits=key.limits)


async def open_runs(key: ApiKey) -> int:
    return await Reservation.objects.filter(key_id=key.pk, settled_ms=None).acount()


async def test_make_no_query_for_key_without_limits(
    usage_accounting: UsageAccounting, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> None:
    key, principal = await key_with()

    def never(*_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(usage_accounting._worker, "call", never)
    monkeypatch.setattr(usage_accounting._catalog, "resolve", never)
    with django_db_blocker.block():
        assert await usage_accounting.reserve(principal, turn_of(key)) is NO_STATE


@pytest.mark.parametrize(
    ("ending", "failures"),
    [
        (FINISHED, 0),
        (Failed(0.0, ProxyError(FailureKind.STALL, "stalled"), USED), 1),
        (Cancelled(0.0, CancelReason.CLIENT_DISCONNECT, USED), 0),
    ],
)
async def test_settle_at_every_ending(usage_accounting: UsageAccounting, ending: Ending, failures: int) -> None:
    key, principal = await key_with(tokens_per_minute=10_000)
    turn = turn_of(key)
    state = await usage_accounting.reserve(principal, turn)
    assert isinstance(state, LimitState)
    assert await open_runs(key) == 1
    usage_accounting.on_event(turn, ending)
    assert await usage_accounting.flush()
    assert await open_runs(key) == 0
    row = await UsageRow.objects.aget(key_id=key.pk)
    assert (row.requests, row.failures, row.cost_micro_usd) == (1, failures, 200)
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens) == (100, 20, 1000)
    reservation = await Reservation.objects.aget(key_id=key.pk)
    assert reservation.tokens == 120, "what was read from the cache does not count"
    await key.arefresh_from_db()
    assert key.first_used_from == "192.0.2.7"


async def test_charge_nothing_for_own_rejections(usage_accounting: UsageAccounting) -> None:
    key, principal = await key_with(requests_per_minute=1)
    for _ in range(3):
        turn = turn_of(key)
        await usage_accounting.reserve(principal, turn)
        usage_accounting.on_event(turn, Failed(0.0, ProxyError(FailureKind.QUEUE_FULL, "full")))
    assert await usage_accounting.flush()
    assert not await UsageRow.objects.filter(key_id=key.pk).aexists()


async def test_charge_usage_of_run_stopped_by_drain(usage_accounting: UsageAccounting) -> None:
    key, principal = await key_with(requests_per_minute=1)
    turn = turn_of(key)
    await usage_accounting.reserve(principal, turn)
    usage_accounting.on_event(turn, Failed(0.0, ProxyError(FailureKind.DRAINING, "stopped"), USED))
    assert await usage_accounting.flush()
    assert (await UsageRow.objects.aget(key_id=key.pk)).input_tokens == 100


async def test_return_reservation_of_turn_not_started(usage_accounting: UsageAccounting) -> None:
    key, principal = await key_with(requests_per_minute=1)
    turn = turn_of(key)
    await usage_accounting.reserve(principal, turn)
    with pytest.raises(LimitError):
        await usage_accounting.reserve(principal, turn_of(key))
    usage_accounting.release(turn)
    assert isinstance(await usage_accounting.reserve(principal, turn_of(key)), LimitState)


async def test_leave_nothing_behind_when_client_disconnects(usage_accounting: UsageAccounting) -> None:
    key, principal = await key_with(concurrent_runs=1)
    for _ in range(5):
        task = asyncio.create_task(usage_accounting.reserve(principal, turn_of(key)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await usage_accounting.flush()
    assert await usage_accounting.flush()
    assert await open_runs(key) == 0


async def test_deny_permission_without_database(
    usage_accounting: UsageAccounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, principal = await key_with(requests_per_minute=1)
    failed: Future[Any] = Future()
    failed.set_exception(OperationalError("gone"))
    monkeypatch.setattr(usage_accounting._worker, "call", lambda job, **_: failed)
    with pytest.raises(ProxyError) as refused:
        await usage_accounting.reserve(principal, turn_of(key))
    assert refused.value.kind is FailureKind.DATABASE_UNAVAILABLE


async def test_reject_model_without_price_for_key_with_budget(usage_accounting: UsageAccounting) -> None:
    key, principal = await key_with(budget_total_usd=Decimal(1))
    with pytest.raises(LimitError) as refused:
        await usage_accounting.reserve(principal, turn_of(key, "no-such-model"))
    assert refused.value.kind is FailureKind.FORBIDDEN


async def test_store_name_that_no_database_accepts(usage_accounting: UsageAccounting) -> None:
    key, _ = await key_with()
    usage_accounting.on_event(turn_of(key, "a\x00b\ud800" + "x" * 300), FINISHED)
    assert await usage_accounting.flush()
    row = await UsageRow.objects.aget(key_id=key.pk)
    assert row.model.startswith("a\ufffdb\ufffdxxx")
    assert len(row.model) == 200
