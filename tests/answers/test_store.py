"""Recent answers in the database: limits, expiry, separation by key."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks, Settings

from apiproxy.answers.jobs import Find, Forget, Found, Renew, Write
from apiproxy.answers.kept import answer_identifier, call_identifier
from apiproxy.answers.store import AnswerReader, AnswerWriter
from apiproxy.core.sealing import Seal, derive_seal_key
from apiproxy.core.turns import Keeping
from apiproxy.keys.cache import create_key
from apiproxy.models import ApiKey, RecentAnswer, RecentAnswerName
from tests.support.clock import Clock

pytestmark = pytest.mark.django_db

MATERIAL = derive_seal_key("sk-proxy-mine")
HOUR_S = 3600
ROOM_BYTES = 10**6

Limit = Callable[..., None]


@pytest.fixture
def key() -> ApiKey:
    return async_to_sync(create_key)("mine")[0]


@pytest.fixture
def writer(clock: Clock) -> AnswerWriter:
    return AnswerWriter(clock)


@pytest.fixture
def reader(clock: Clock) -> AnswerReader:
    return AnswerReader(clock)


@pytest.fixture
def limit(settings: Settings) -> Limit:
    """Change limits of the recent answers."""

    def change(**fields: int) -> None:
        recent = replace(settings.GATEWAY.recent_answers, **fields)
        settings.GATEWAY = replace(settings.GATEWAY, recent_answers=recent)

    return change


def write(key_id: int, number: int = 1, *, calls: int = 0, text: str = "hello", material: bytes = MATERIAL) -> Write:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    content += [{"type": "tool_use", "id": f"toolu_{number}_{at}", "name": "f", "input": {}} for at in range(calls)]
    message = {"id": f"msg_{number}", "role": "assistant", "content": content}
    return Write(key_id=key_id, model="m", message=message, keeping=Keeping(seal_key=material))


def found(reader: AnswerReader, key_id: int, *identifiers: str, room_bytes: int = ROOM_BYTES, **other: Any) -> Found:
    seal = Seal(other.get("material", MATERIAL), key_id)
    return reader.do([Find(key_id, tuple(map(seal.name, identifiers)), room_bytes)])[0]


def test_find_an_answer_by_its_id_and_its_calls(
    writer: AnswerWriter, reader: AnswerReader, key: ApiKey, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert writer.do([write(key.pk, calls=2), write(key.pk, 2)]) == [True, True]
    names = (answer_identifier("msg_1"), answer_identifier("resp_2"), call_identifier("toolu_1_1"))
    with django_assert_num_queries(2):
        rows = found(reader, key.pk, *names, "answer unknown")
    assert len(rows.answers) == 3
    assert len(rows.sealed) == 2
    opened = [Seal(MATERIAL, key.pk).open(sealed) for sealed in rows.sealed.values()]
    assert all(it is not None and b'"hello"' in it[1] for it in opened)


def test_hide_answers_from_other_keys(writer: AnswerWriter, reader: AnswerReader, key: ApiKey) -> None:
    writer.do([write(key.pk)])
    assert not found(reader, key.pk + 1, "answer 1").answers
    assert not found(reader, key.pk, "answer 1", material=derive_seal_key("sk-proxy-other")).answers
    stored = RecentAnswer.objects.get()
    assert b"hello" not in bytes(stored.sealed)


def test_newest_answer_counts_where_ids_repeat(writer: AnswerWriter, reader: AnswerReader, key: ApiKey) -> None:
    writer.do([write(key.pk, text="one"), write(key.pk, text="two")])
    writer.do([write(key.pk, text="three")])
    (sealed,) = found(reader, key.pk, "answer 1").sealed.values()
    opened = Seal(MATERIAL, key.pk).open(sealed)
    assert opened is not None
    assert b"three" in opened[1]


def test_expire_an_hour_after_the_last_use(
    writer: AnswerWriter, reader: AnswerReader, key: ApiKey, clock: Clock
) -> None:
    writer.do([write(key.pk)])
    assert found(reader, key.pk, "answer 1").due == ()
    clock.now += 0.5 * HOUR_S
    due = found(reader, key.pk, "answer 1").due
    assert len(due) == 1
    writer.do([Renew(due)])
    clock.now += 0.9 * HOUR_S
    assert found(reader, key.pk, "answer 1").sealed
    clock.now += 0.2 * HOUR_S
    assert not found(reader, key.pk, "answer 1").answers
    writer.do([Renew(due)])
    writer.tick()
    assert not RecentAnswer.objects.exists()
    assert not RecentAnswerName.objects.exists()


def test_delete_answers_of_a_clock_that_was_ahead(writer: AnswerWriter, key: ApiKey, clock: Clock) -> None:
    clock.now += 30 * HOUR_S
    writer.do([write(key.pk)])
    clock.now -= 30 * HOUR_S
    writer.tick()
    assert not RecentAnswer.objects.exists()


def test_delete_all_when_switched_off(writer: AnswerWriter, key: ApiKey, limit: Limit) -> None:
    writer.do([write(key.pk)])
    limit(ttl_minutes=0)
    writer.tick()
    assert not RecentAnswer.objects.exists()


def test_keep_the_newest_within_the_count_per_key(
    writer: AnswerWriter, reader: AnswerReader, key: ApiKey, clock: Clock, limit: Limit
) -> None:
    limit(max_per_key=3)
    for number in range(6):
        writer.do([write(key.pk, number, calls=1)])
        clock.now += 1
    writer.do([write(key.pk + 1, 9)])
    kept = [number for number in range(6) if found(reader, key.pk, f"answer {number}").answers]
    assert kept == [3, 4, 5]
    assert RecentAnswerName.objects.count() == 7


def test_keep_the_newest_within_the_bytes_per_key(
    writer: AnswerWriter, reader: AnswerReader, key: ApiKey, clock: Clock, limit: Limit
) -> None:
    limit(bytes_per_key=10_000)
    for number in range(20):
        writer.do([write(key.pk, number, text="x" * 1_000)])
        clock.now += 1
    sizes = RecentAnswer.objects.values_list("size_bytes", flat=True)
    assert 8_000 < sum(sizes) <= 10_000
    assert found(reader, key.pk, "answer 19").answers


def test_keep_the_newest_within_the_bytes_of_all(writer: AnswerWriter, key: ApiKey, clock: Clock, limit: Limit) -> None:
    limit(total_bytes=10_000)
    for number in range(20):
        writer.do([write(key.pk + number, number, text="x" * 1_000)])
        clock.now += 1
    assert 7_000 < sum(RecentAnswer.objects.values_list("size_bytes", flat=True)) <= 11_000


def test_store_no_answer_that_takes_most_of_the_quota(writer: AnswerWriter, key: ApiKey, limit: Limit) -> None:
    limit(bytes_per_key=10_000)
    assert writer.do([write(key.pk, text="x" * 5_000), write(key.pk, 2)]) == [False, True]


def test_read_no_more_than_there_is_room_for(writer: AnswerWriter, reader: AnswerReader, key: ApiKey) -> None:
    writer.do([write(key.pk, number, text="x" * 1_000) for number in range(4)])
    rows = found(reader, key.pk, *(f"answer {number}" for number in range(4)), room_bytes=3_000)
    assert len(rows.answers) == 4
    assert len(rows.sealed) == 2
    assert found(reader, key.pk, "answer 0", room_bytes=0).sealed == {}


def test_forget_an_answer(writer: AnswerWriter, reader: AnswerReader, key: ApiKey) -> None:
    writer.do([write(key.pk, calls=2), write(key.pk, 2)])
    name = Seal(MATERIAL, key.pk).name("answer 1")
    assert writer.do([Forget(key.pk + 1, name), Forget(key.pk, name), Forget(key.pk, name)]) == [False, True, False]
    assert RecentAnswer.objects.count() == RecentAnswerName.objects.count() == 1


@pytest.mark.parametrize("end", ["revoke", "delete"])
def test_delete_answers_of_a_key_that_ends(
    writer: AnswerWriter, key: ApiKey, end: str, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    writer.do([write(key.pk, calls=2)])
    with django_capture_on_commit_callbacks(execute=True):
        if end == "delete":
            key.delete()
        else:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
    assert not RecentAnswer.objects.exists()


def test_delete_answers_of_ended_keys_without_a_signal(writer: AnswerWriter, clock: Clock) -> None:
    keys = [async_to_sync(create_key)(name)[0] for name in ("used", "revoked", "expired", "deleted")]
    writer.do([write(it.pk, it.pk) for it in keys])
    now = datetime.fromtimestamp(clock.now, tz=UTC)
    ApiKey.objects.filter(name="revoked").update(revoked_at=now)
    ApiKey.objects.filter(name="expired").update(expires_at=now)
    ApiKey.objects.filter(name="deleted")._raw_delete("default")  # as a script would
    writer.tick()
    assert [row.key_id for row in RecentAnswer.objects.all()] == [keys[0].pk]


def test_write_a_batch_in_few_queries(
    writer: AnswerWriter, key: ApiKey, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    writer.do([write(key.pk)])
    with django_assert_max_num_queries(4):  # two inserts in a savepoint
        writer.do([write(key.pk, number, calls=3) for number in range(2, 52)])
