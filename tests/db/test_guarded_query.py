"""Guarded queries: timeouts, and fail-fast after a failure."""

import asyncio

import pytest
from django.db import DataError, InterfaceError, OperationalError

from apiproxy.core.errors import FailureKind
from apiproxy.db.guarded_query import PAUSE_S, DatabaseUnavailableError, QueryGuard
from tests.support.clock import Clock
from tests.support.waiting import eventually_async

SHORT_S = 0.02


class Database:
    """Fake database that answers, fails or hangs."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hanging = asyncio.Event()
        self.hanging.set()
        self.asked = 0

    async def answer(self) -> str:
        self.asked += 1
        await self.hanging.wait()
        if self.error is not None:
            raise self.error
        return "answer"


@pytest.fixture
async def database() -> Database:
    return Database()


@pytest.fixture
def query_guard(clock: Clock) -> QueryGuard:
    return QueryGuard(timeout_s=SHORT_S, monotonic=clock)


async def ask(query_guard: QueryGuard, database: Database) -> str | None:
    """The result, or None if the database is unavailable."""
    try:
        return await query_guard.run(database.answer, what="it")
    except DatabaseUnavailableError as error:
        assert error.kind is FailureKind.DATABASE_UNAVAILABLE  # noqa: PT017
        return None


async def test_answer_queries(query_guard: QueryGuard, database: Database) -> None:
    assert await ask(query_guard, database) == "answer"
    assert not query_guard.unavailable


@pytest.mark.parametrize("error", [OperationalError("locked"), InterfaceError("gone")])
async def test_after_a_failure_nothing_is_asked_for_a_moment(
    query_guard: QueryGuard, database: Database, clock: Clock, error: Exception
) -> None:
    database.error = error
    assert await ask(query_guard, database) is None
    database.error = None
    assert await ask(query_guard, database) is None
    assert (query_guard.unavailable, database.asked) == (True, 1)
    clock.advance(PAUSE_S)
    assert await ask(query_guard, database) == "answer"
    assert not query_guard.unavailable


async def test_not_block_others_while_query_hangs(query_guard: QueryGuard, database: Database, clock: Clock) -> None:
    database.hanging.clear()
    assert await ask(query_guard, database) is None
    clock.advance(10 * PAUSE_S)
    assert await ask(query_guard, database) is None
    assert database.asked == 1
    database.error = OperationalError("too late")
    database.hanging.set()
    await eventually_async(lambda: not query_guard._hanging)
    database.error = None
    assert await ask(query_guard, database) == "answer"


async def test_keep_answers_of_others_when_client_leaves(query_guard: QueryGuard, database: Database) -> None:
    database.hanging.clear()
    leaving = asyncio.create_task(ask(query_guard, database))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    database.hanging.set()
    assert await ask(query_guard, database) == "answer"


async def test_tell_own_fault_from_databases(query_guard: QueryGuard, database: Database) -> None:
    database.error = DataError("a bug")
    with pytest.raises(DataError):
        await query_guard.run(database.answer, what="it")
    assert not query_guard.unavailable
