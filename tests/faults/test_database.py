"""A database that is locked, hangs or is gone: requests that can do without are answered, and nothing is lost."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from apiproxy.core.turns import EngineName
from apiproxy.keys.cache import CACHE_TTL_S
from tests.faults.support import KEYS, Prepared, Seen, Watched, settings_of
from tests.limits.gateways import make_keys
from tests.support.forwarder import Forwarder
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected, every
from tests.support.postgres import empty_database
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

DATABASE = "The database"
AWAY = "503 api_error"
PATIENCE_S = 8.0
"""Above what a request may wait for the database."""
BACK_S = 30.0


def told(watched: Watched, key: str) -> str:
    """Answers to the key, plain and streamed, which must be the same and quick."""
    started = time.monotonic()
    plain, streamed = watched.ask_both_ways("[[n=1]]", key=key)
    assert time.monotonic() - started < 2 * PATIENCE_S
    assert str(plain) == str(streamed)
    if plain.status == 503:
        assert plain.retry_after_s >= 1
        assert "Database unavailable" in plain.error["message"]
    return str(plain)


def status_of(watched: Watched, path: str, key: str) -> int:
    """Status of a GET."""
    with watched.process.http(**{"x-api-key": watched.keys[key]}) as client:
        return client.get(path).status_code


def missing(watched: Watched, seen: list[Seen]) -> list[str]:
    """The requests that have no trace of their completion."""
    return [one.request_id for one in seen if watched.trace(one.request_id, within_s=BACK_S) != "completed"]


class OnPostgres(Watched):
    """Reservations are elsewhere."""

    def __init__(self, process: GatewayProcess, url: str) -> None:
        super().__init__(process, make_keys(process, KEYS))
        self.url = url

    def reservations(self) -> int:
        with psycopg.connect(self.url) as database:
            rows = database.execute("SELECT COUNT(*) FROM apiproxy_reservation WHERE settled_ms IS NULL").fetchone()
        assert rows is not None
        return int(rows[0])


@pytest.fixture(scope="module")
def on_sqlite(
    engine: EngineName, prepared: Prepared, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("locked")
    process = prepared.put_into(GatewayProcess(folder, upstream=stand_in.base_url, env=settings_of(engine))).start()
    yield Watched(process, prepared.secrets)
    process.stop()


@every(
    [
        pytest.mark.fault(
            DATABASE, "is locked by another process: a key without limits", plain="200", streamed="200",
            trace="completed, once the lock is gone", after="at rest", http=SAME,
        ),
        pytest.mark.fault(
            DATABASE, "is locked by another process: a key with limits", plain=AWAY, streamed=AWAY,
            trace="internal: database_away after received", after="at rest", http=SAME,
        ),
    ]
)  # fmt: skip
def test_answer_without_writes_while_database_is_locked(on_sqlite: Watched, all_expected: dict[str, Expected]) -> None:
    unlimited, limited = (
        all_expected[f"is locked by another process: a key with{kind} limits"] for kind in ("out", "")
    )
    on_sqlite.ask("[[n=1]]", key="operator")
    on_sqlite.comes_to_rest()
    with closing(sqlite3.connect(on_sqlite.process.state_dir / "db.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answered = [on_sqlite.ask("[[n=1]]", key="operator", stream=stream) for stream in (False, True)]
        refused = [on_sqlite.ask("[[n=1]]", key="limited", stream=stream) for stream in (False, True)]
        waiting = on_sqlite.get("/debug/stats")["traces"]
        other.execute("ROLLBACK")
    assert [str(one) for one in answered] == [unlimited.plain, unlimited.streamed]
    assert [str(one) for one in refused] == [limited.plain, limited.streamed]
    assert waiting["pending"] >= 2
    assert waiting["dropped"] == 0
    assert missing(on_sqlite, answered) == []
    assert {on_sqlite.trace(one.request_id) for one in refused} == {limited.trace}
    eventually(lambda: str(on_sqlite.ask("[[n=1]]", key="limited")) == "200", within_s=BACK_S)
    assert on_sqlite.comes_to_rest(within_s=BACK_S) == unlimited.after == limited.after


@pytest.fixture(scope="module")
def own_database(engine: EngineName) -> Iterator[str]:
    """A database for each engine's gateway: their keys have the same names."""
    with empty_database() as url:
        yield url


@pytest.fixture(scope="module")
def road(own_database: str) -> Iterator[Forwarder]:
    parts = urlsplit(own_database)
    forwarder = Forwarder(parts.port or 5432, target_host=parts.hostname or "127.0.0.1")
    yield forwarder
    forwarder.stop()


@pytest.fixture(scope="module")
def on_postgres(
    engine: EngineName,
    stand_in: StandInProcess,
    own_database: str,
    road: Forwarder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OnPostgres]:
    parts = urlsplit(own_database)
    login = parts.netloc.rpartition("@")[0]
    through = urlunsplit(parts._replace(netloc=f"{login}{'@' if login else ''}127.0.0.1:{road.port}"))
    env = {**settings_of(engine), "DATABASE_URL": through}
    process = GatewayProcess(tmp_path_factory.mktemp("postgres"), upstream=stand_in.base_url, env=env).start()
    yield OnPostgres(process, own_database.replace("postgres://", "postgresql://", 1))
    process.stop()


@every(
    pytest.mark.fault(
        DATABASE, f"is gone and comes back: {who}", plain=told, streamed=told, trace=trace, after=after, http=SAME
    )
    for who, told, trace, after in (
        ("a key that was used before", "200", "completed, once it is back", "at rest"),
        ("a key that was never used", AWAY, "internal: database_away after received", "at rest"),
        ("a key with limits", AWAY, "internal: database_away after received", "at rest"),
        ("operations", "503", "", "at rest"),
    )
)
def test_answer_known_keys_without_database(
    on_postgres: OnPostgres, road: Forwarder, all_expected: dict[str, Expected]
) -> None:
    expected = {name.partition(": ")[2]: one for name, one in all_expected.items()}
    for key in ("operator", "limited"):
        assert told(on_postgres, key) == "200"
    answered: list[Seen] = []
    waits: list[float] = []
    road.close()
    try:
        with ThreadPoolExecutor() as others:
            unused, limited = (others.submit(told, on_postgres, key) for key in ("unused", "limited"))
            statuses = [
                others.submit(status_of, on_postgres, path, key)
                for path, key in (("/v1/usage", "operator"), ("/debug/stats", "unused"))
            ]
            gone_at = time.monotonic()
            while time.monotonic() < gone_at + CACHE_TTL_S + 1:  # past the age at which a key is looked up again
                asked_at = time.monotonic()
                answered.append(on_postgres.ask("[[n=1]]", key="operator"))
                waits.append(time.monotonic() - asked_at)
                assert str(answered[-1]) == expected["a key that was used before"].plain
        assert max(waits) < PATIENCE_S, "a request that needs no database waited for another's"
        assert unused.result() == expected["a key that was never used"].plain
        assert limited.result() == expected["a key with limits"].plain
        assert {str(status.result()) for status in statuses} == {expected["operations"].plain}
        with on_postgres.process.http(**{"x-api-key": on_postgres.keys["unused"]}) as client:
            response = client.post("/v1/chat/completions", json={"model": "haiku", "messages": []})
            assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
            assert client.get("/readyz").status_code == 200
    finally:
        road.open()
    eventually(lambda: str(on_postgres.ask("[[n=1]]", key="unused")) == "200", within_s=BACK_S)
    eventually(lambda: str(on_postgres.ask("[[n=1]]", key="limited")) == "200", within_s=BACK_S)
    assert missing(on_postgres, answered[-3:]) == []
    assert on_postgres.get("/debug/stats")["traces"]["dropped"] == 0
    assert on_postgres.comes_to_rest(within_s=BACK_S) == "at rest"


@pytest.mark.fault(
    DATABASE, "ends all connections", plain="200", streamed="200", trace="completed", after="at rest", http=SAME
)
def test_replace_closed_connections_inside_the_pool(on_postgres: OnPostgres, expected: Expected) -> None:
    assert told(on_postgres, "limited") == "200"
    with psycopg.connect(on_postgres.url, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    seen = [
        on_postgres.ask("[[n=1]]", key=key, stream=stream) for key, stream in (("limited", False), ("operator", True))
    ]
    assert [str(one) for one in seen] == [expected.plain, expected.streamed]
    assert missing(on_postgres, seen) == []
    assert on_postgres.comes_to_rest(within_s=BACK_S) == expected.after


@every(
    [
        pytest.mark.fault(
            DATABASE, "hangs: a key that was used before", plain="200", streamed="200",
            trace="completed, once it answers", after="at rest", http=SAME,
        ),
        pytest.mark.fault(
            DATABASE, "hangs: a key with limits", plain=AWAY, streamed=AWAY,
            trace="internal: database_away after received", after="at rest", http=SAME,
        ),
    ]
)  # fmt: skip
def test_answer_soon_while_database_hangs(
    on_postgres: OnPostgres, road: Forwarder, all_expected: dict[str, Expected]
) -> None:
    for key in ("operator", "limited"):
        assert told(on_postgres, key) == "200"
    road.freeze()
    try:
        assert told(on_postgres, "operator") == all_expected["hangs: a key that was used before"].plain
        assert told(on_postgres, "limited") == all_expected["hangs: a key with limits"].plain
    finally:
        road.thaw()
    eventually(lambda: str(on_postgres.ask("[[n=1]]", key="limited")) == "200", within_s=BACK_S)
    assert on_postgres.comes_to_rest(within_s=BACK_S) == "at rest"
