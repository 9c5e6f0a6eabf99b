"""Questions to a database that may be away: each has an end, and after a failure nobody waits for the next one."""

import asyncio

import pytest
from django.db import DataError, InterfaceError, OperationalError

from apiproxy.core.errors import FailureKind
from apiproxy.db.guarded_query import PAUSE_S, DatabaseAwayError, Lookup
from tests.support.clock import Clock
from tests.support.waiting import eventually_async

SHORT_S = 0.02


class Database:
    """One that answers, fails or hangs as it is told."""

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
def lookup(clock: Clock) -> Lookup:
    return Lookup(timeout_s=SHORT_S, monotonic=clock)


async def ask(lookup: Lookup, database: Database) -> str | None:
    """The answer, or None without one."""
    try:
        return await lookup.ask(database.answer, what="it")
    except DatabaseAwayError as error:
        assert error.kind is FailureKind.DATABASE_AWAY  # noqa: PT017
        return None


async def test_what_is_asked_is_answered(lookup: Lookup, database: Database) -> None:
    assert await ask(lookup, database) == "answer"
    assert not lookup.away


@pytest.mark.parametrize("error", [OperationalError("locked"), InterfaceError("gone")])
async def test_after_a_failure_nothing_is_asked_for_a_moment(
    lookup: Lookup, database: Database, clock: Clock, error: Exception
) -> None:
    database.error = error
    assert await ask(lookup, database) is None
    database.error = None
    assert await ask(lookup, database) is None
    assert (lookup.away, database.asked) == (True, 1)
    clock.advance(PAUSE_S)
    assert await ask(lookup, database) == "answer"
    assert not lookup.away


async def test_while_a_question_hangs_nobody_else_waits_and_its_end_is_awaited_by_none(
    lookup: Lookup, database: Database, clock: Clock
) -> None:
    database.hanging.clear()
    assert await ask(lookup, database) is None
    clock.advance(10 * PAUSE_S)
    assert await ask(lookup, database) is None
    assert database.asked == 1
    database.error = OperationalError("too late")
    database.hanging.set()
    await eventually_async(lambda: not lookup._hanging)
    database.error = None
    assert await ask(lookup, database) == "answer"


async def test_a_client_that_leaves_takes_nobodys_answer_away(lookup: Lookup, database: Database) -> None:
    database.hanging.clear()
    leaving = asyncio.create_task(ask(lookup, database))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    database.hanging.set()
    assert await ask(lookup, database) == "answer"


async def test_a_fault_of_ours_is_not_the_databases(lookup: Lookup, database: Database) -> None:
    database.error = DataError("a bug")
    with pytest.raises(DataError):
        await lookup.ask(database.answer, what="it")
    assert not lookup.away
