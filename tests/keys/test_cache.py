"""Key cache with the real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from apiproxy.core.principal import Principal
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard
from apiproxy.keys import cache
from apiproxy.keys.cache import (
    CACHE_TTL_S,
    LAST_USED_INTERVAL_S,
    STALE_MAX_S,
    KeyFields,
    Keyring,
    create_key,
)
from apiproxy.models import ApiKey
from tests.support.clock import Clock

pytestmark = pytest.mark.django_db


def make(name: str = "ci", **fields: object) -> tuple[ApiKey, str]:
    return async_to_sync(create_key)(name, **KeyFields(**fields))  # type: ignore[typeddict-item]


def find(ring: Keyring, secret: str) -> Principal | None:
    """Look up a secret and wait for the update of its last use."""

    async def look() -> Principal | None:
        try:
            return await ring.find(secret)
        finally:
            await ring.settle()

    return async_to_sync(look)()


@pytest.fixture
def ring(clock: Clock) -> Keyring:
    return Keyring(QueryGuard(monotonic=clock), clock=clock, monotonic=clock)


def test_find_key_by_its_secret(ring: Keyring) -> None:
    expires = datetime(2200, 1, 1, tzinfo=UTC)
    key, secret = make(
        scopes=["api", "admin"], allowed_models=["opus"], priority=-3, store_bodies=True, expires_at=expires
    )
    assert find(ring, secret) == Principal(
        key_id=key.pk,
        label="ci",
        scopes=frozenset({"api", "admin"}),
        allowed_models=("opus",),
        priority=-3,
        store_bodies=True,
        expires_at=expires.timestamp(),
    )


@pytest.mark.parametrize(
    "presented", ["", "sk-proxy-", "sk-proxy-" + "x" * 43, "schlüssel", "\udc80\ud800", "x" * 100_000]
)
def test_find_no_key_for_unknown_secret(ring: Keyring, presented: str) -> None:
    make()
    assert find(ring, presented) is None


def test_find_no_secret_in_row(ring: Keyring) -> None:
    key, _ = make()
    assert find(ring, key.digest) is None
    assert find(ring, key.prefix) is None


def test_reject_revoked_key_at_once(ring: Keyring) -> None:
    key, secret = make()
    assert find(ring, secret) is not None
    key.revoked_at = datetime.now(UTC)
    key.save()
    assert find(ring, secret) is None


def test_reject_deleted_key_at_once(ring: Keyring) -> None:
    key, secret = make()
    assert find(ring, secret) is not None
    key.delete()
    assert find(ring, secret) is None


def test_apply_change_of_key_at_once(ring: Keyring) -> None:
    key, secret = make()
    find(ring, secret)
    key.scopes = ["admin"]
    key.save()
    found = find(ring, secret)
    assert found is not None
    assert found.scopes == {"admin"}


def test_see_change_of_another_process_after_cache_expiry(ring: Keyring, clock: Clock) -> None:
    key, secret = make()
    find(ring, secret)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=datetime.now(UTC))  # sends no signal
    clock.advance(CACHE_TTL_S - 0.1)
    assert find(ring, secret) is not None
    clock.advance(0.2)
    assert find(ring, secret) is None


def test_expire_key_in_memory(ring: Keyring, clock: Clock) -> None:
    _, secret = make(expires_at=datetime.fromtimestamp(clock.now + 1, tz=UTC))
    assert find(ring, secret) is not None
    clock.advance(1)
    assert find(ring, secret) is None


def test_find_known_key_without_query(ring: Keyring, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, secret = make()
    find(ring, secret)
    with django_assert_num_queries(0):
        assert find(ring, secret) is not None


def test_query_once_for_each_unknown_secret(ring: Keyring, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(2):
        find(ring, "unknown")
        find(ring, "unknown")


def test_drop_row_read_before_change(ring: Keyring, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, secret = make()

    async def change_while_reading() -> None:
        reading = asyncio.ensure_future(ring.find(secret))
        for _ in range(3):  # by now the row is being read
            await asyncio.sleep(0)
        ring.forget()
        await reading
        await ring.settle()

    async_to_sync(change_while_reading)()
    with django_assert_num_queries(1):
        find(ring, secret)


def test_not_cache_read_older_than_committed_change(
    ring: Keyring,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    key, secret = make()
    with django_capture_on_commit_callbacks(execute=True):
        key.save()
        find(ring, secret)
    with django_assert_num_queries(1):
        find(ring, secret)


def test_bound_memory_for_keys(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(cache, "CACHE_MAX_KEYS", 2)
    secrets = [make(f"key {number}")[1] for number in range(3)]
    for secret in secrets:
        find(ring, secret)
    with django_assert_num_queries(0):
        find(ring, secrets[1])
        find(ring, secrets[2])
    with django_assert_num_queries(2):  # the row, and its last use, which was forgotten too
        find(ring, secrets[0])


def test_write_last_use_at_most_once_a_minute(ring: Keyring, clock: Clock) -> None:
    key, secret = make()
    start = clock.now
    for seconds, written in ((0.0, 0.0), (59.0, 0.0), (1.0, LAST_USED_INTERVAL_S)):
        clock.advance(seconds)
        find(ring, secret)
        key.refresh_from_db()
        assert key.last_used_at == datetime.fromtimestamp(start + written, tz=UTC)


def test_keep_last_use_written_by_other_process(ring: Keyring, clock: Clock) -> None:
    key, secret = make()
    theirs = datetime.fromtimestamp(clock.now, tz=UTC) - timedelta(seconds=30)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=theirs)
    find(ring, secret)
    key.refresh_from_db()
    assert key.last_used_at == theirs


def test_leave_last_use_of_rejected_key(ring: Keyring, clock: Clock) -> None:
    key, secret = make(expires_at=datetime.fromtimestamp(clock.now, tz=UTC))
    assert find(ring, secret) is None
    key.refresh_from_db()
    assert key.last_used_at is None


def test_serve_client_when_last_use_cannot_be_written(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    _, secret = make()

    def refuse_updates(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError("database is locked")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse_updates):
        assert find(ring, secret) is not None
    assert "key.last_used_not_written" in caplog.text
    assert secret not in caplog.text


def refuse_all(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    raise OperationalError("gone")


def test_accept_cached_key_for_an_hour_without_database(ring: Keyring, clock: Clock) -> None:
    _, secret = make()
    assert find(ring, secret) is not None
    with connection.execute_wrapper(refuse_all):
        clock.advance(CACHE_TTL_S)
        assert find(ring, secret) is not None
        with pytest.raises(DatabaseUnavailableError):
            find(ring, "unknown")
        clock.advance(STALE_MAX_S - CACHE_TTL_S)
        with pytest.raises(DatabaseUnavailableError):
            find(ring, secret)
    clock.advance(CACHE_TTL_S)
    assert find(ring, secret) is not None


def test_reject_revoked_key_during_database_outage(ring: Keyring, clock: Clock) -> None:
    key, secret = make()
    find(ring, secret)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=datetime.now(UTC))  # by another process
    clock.advance(CACHE_TTL_S)
    assert find(ring, secret) is None
    with connection.execute_wrapper(refuse_all), pytest.raises(DatabaseUnavailableError):
        find(ring, secret)


def test_expire_key_without_database(ring: Keyring, clock: Clock) -> None:
    _, secret = make(expires_at=datetime.fromtimestamp(clock.now + 10, tz=UTC))
    assert find(ring, secret) is not None
    clock.advance(10)
    with connection.execute_wrapper(refuse_all):
        assert find(ring, secret) is None
