"""Sessions in the database: counters, separation by key, expiry."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries, Settings

from apiproxy.account import sessions as account
from apiproxy.core.principal import Principal
from apiproxy.limits.usage import Sums
from apiproxy.models import Session, SessionHistory
from apiproxy.sessions.jobs import DeleteResponse, Found, Note, ReadHistory
from apiproxy.sessions.kept import MAX_BYTES, decode, from_json
from apiproxy.sessions.store import SessionStore
from tests.limits.support import Clock

pytestmark = pytest.mark.django_db

DAY_S = 24 * 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> SessionStore:
    return SessionStore(clock)


def note(clock: Clock, *texts: str, key: int = 1, conversation: str = "c", **fields: Any) -> Note:
    given = {
        "sums": Sums(requests=1, input_tokens=10, output_tokens=2, cache_read_tokens=30, cost_micro_usd=5),
        "messages": [{"role": "user", "content": text} for text in texts],
        **fields,
    }
    return Note(
        key_id=key,
        key_label=f"key {key}",
        conversation_id=conversation,
        dialect="anthropic",
        model="m",
        received_at=clock.now,
        **given,
    )


def run(call: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    return async_to_sync(call)(*arguments)


def only(key: int = 1) -> Session:
    return Session.objects.get(key_id=key)


def recalled(store: SessionStore, conversation: str = "c", *, key: int = 1, room_bytes: int = MAX_BYTES) -> Found:
    (found,) = store.do([ReadHistory(key, conversation, room_bytes)])
    assert isinstance(found, Found)
    return found


def messages_of(found: Found) -> list[Any]:
    return [] if found.messages is None else decode(found.messages)


def principal(key: int, *scopes: str) -> Principal:
    return Principal(key_id=key, label=f"key {key}", scopes=frozenset({"api", *scopes}))


def test_turns_are_counted_with_what_they_used(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a")])
    store.do([note(clock, "a", "b"), note(clock, "a", "x", sums=Sums(requests=1, failures=1))])
    session = only()
    assert (session.turns, session.resumes, session.resets, session.failures) == (3, 1, 1, 1)
    assert (session.last_change, session.differed_at, session.message_count) == ("edit", 1, 2)
    assert (session.input_tokens, session.cache_read_tokens, session.cost_micro_usd) == (20, 60, 10)


def test_keep_same_conversation_id_of_two_keys_apart(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "mine", key=1), note(clock, "theirs", key=2), note(clock, "theirs", "too", key=2)])
    assert [only(1).last_change, only(2).last_change] == ["first", "resume"]
    mine, theirs, all_of_them = [run(account.listing, it) for it in (principal(1), principal(2), principal(3, "admin"))]
    assert [session["keyId"] for session in mine["sessions"]] == [1]
    assert [session["keyId"] for session in theirs["sessions"]] == [2]
    assert len(all_of_them["sessions"]) == 2
    assert run(account.delete, principal(3), "c") == 0
    assert run(account.delete, principal(1), "c") == 1
    assert Session.objects.count() == 1


def test_name_fields_of_list_as_scripts_do(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a"), note(clock, "a", "b")])
    answer = run(account.listing, principal(1))
    (session,) = answer["sessions"]
    assert session["conversationId"] == "c"
    assert (session["resumeCount"], session["failureCount"], session["messageCount"]) == (1, 0, 2)
    assert {"createdAt", "lastUsed", "model", "hitRate", "costUsd", "usage"} <= session.keys()
    stats = answer["stats"]
    assert (stats["totalSessions"], stats["totalResumes"], stats["hits"], stats["misses"]) == (1, 1, 1, 1)
    assert (stats["hitRate"], stats["cacheHitRate"], stats["totalFailures"]) == (0.5, 0.75, 0)


def test_restart_expired_session(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a")])
    clock.advance(DAY_S + 1)
    store.do([note(clock, "a", "b")])
    assert (only().turns, only().last_change) == (1, "first")
    clock.advance(DAY_S + 1)
    store.tick()
    assert not Session.objects.exists()


def test_of_too_many_sessions_the_ones_used_longest_ago_go(
    store: SessionStore, clock: Clock, settings: Settings
) -> None:
    settings.GATEWAY = replace(settings.GATEWAY, sessions=replace(settings.GATEWAY.sessions, max_per_key=3))
    for number in range(5):
        clock.advance(1)
        store.do([note(clock, "a", conversation=f"c{number}"), note(clock, "a", key=2, conversation="other")])
    assert set(Session.objects.filter(key_id=1).values_list("conversation_id", flat=True)) == {"c2", "c3", "c4"}
    assert Session.objects.filter(key_id=2).count() == 1


def test_clean_up_sessions_of_one_key_only(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a", key=1), note(clock, "a", key=2)])
    Session.objects.update(last_used_at="2001-01-01T00:00:00Z")
    assert run(account.clean_up, principal(1)) == {"evicted": 1, "remaining": 0}
    assert Session.objects.count() == 1
    assert run(account.clean_up, principal(3, "admin")) == {"evicted": 1, "remaining": 0}


def test_clean_up_all_sessions_by_command(
    store: SessionStore, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    store.do([note(clock, "a")])
    Session.objects.update(last_used_at="2001-01-01T00:00:00Z")
    call_command("cleanupsessions")
    assert "1 sessions deleted, 0 left" in capsys.readouterr().out


def test_messages_are_kept_up_to_the_answer_and_come_back(store: SessionStore, clock: Clock) -> None:
    message = {"id": "msg_1", "content": [{"type": "text", "text": "\ud800 b"}]}
    store.do([note(clock, "a", message=message, store=True)])
    found = recalled(store)
    assert messages_of(found) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": message["content"]},
    ]
    assert found.answer == b""
    assert only().stored_bytes == found.size_bytes
    assert recalled(store, key=2) == Found()
    assert recalled(store, "d") == Found(others_bytes=found.size_bytes)
    store.do([note(clock, "a", "failed", store=True)])
    assert recalled(store) == found
    clock.advance(DAY_S + 1)
    assert recalled(store).messages is None


def test_delete_only_stored_response_of_same_key(store: SessionStore, clock: Clock) -> None:
    message, form = {"id": "msg_1", "content": [{"type": "text", "text": "b"}]}, {"created": 3}
    kept: dict[str, Any] = {"message": message, "store": True}
    store.do([note(clock, "a", **kept), note(clock, "a", conversation="r", form=form, **kept)])
    assert from_json(recalled(store, "r").answer) == {"message": message, "form": form}
    assert store.do(
        [DeleteResponse(2, "r"), DeleteResponse(1, "c"), DeleteResponse(1, "r"), DeleteResponse(1, "r")]
    ) == [False, False, True, False]
    assert only().conversation_id == "c"


def test_without_the_bodies_a_turn_is_counted_all_the_same(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, messages=None)])
    store.do([note(clock, "a")])
    assert (only().turns, only().last_change) == (2, "first")


def test_record_turn_with_few_queries(
    store: SessionStore, clock: Clock, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    store.do([note(clock, "a")])
    with django_assert_max_num_queries(4):  # savepoint, session, update, release
        store.do([note(clock, "a", "b")])


def answered(text: str = "b") -> dict[str, Any]:
    return {"message": {"id": "msg_1", "content": [{"type": "text", "text": text}] if text else []}, "store": True}


def with_quota(settings: Settings, bytes_per_key: int) -> None:
    sessions = replace(settings.GATEWAY.sessions, bytes_per_key=bytes_per_key)
    settings.GATEWAY = replace(settings.GATEWAY, sessions=sessions)


def test_reads_messages_kept_as_one_array(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a", **answered())])
    SessionHistory.objects.update(messages=b'[{"role":"user","content":"\\ud800"}, {"role":"assistant","content":[]}]')
    assert [message["role"] for message in messages_of(recalled(store))] == ["user", "assistant"]


def test_reads_no_more_messages_than_there_is_room_for(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a" * 1_000, **answered())])
    found = recalled(store, room_bytes=1_000)
    assert (found.messages, found.size_bytes) == (None, only().stored_bytes)
    assert recalled(store, room_bytes=found.size_bytes).messages is not None


def test_keeps_the_question_of_an_answer_without_content(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a", **answered("")), note(clock, "a", "b", **answered(""))])
    assert [message["content"] for message in messages_of(recalled(store))] == ["a", "b"]
    assert only().unstored_turns == 0


def test_counts_a_turn_that_passes_the_quota(store: SessionStore, clock: Clock, settings: Settings) -> None:
    with_quota(settings, 1_500)
    store.do([note(clock, "a" * 900, **answered()), note(clock, "a" * 900, key=2, **answered())])
    (unstored,) = store.do([note(clock, "b" * 900, conversation="d", **answered())])
    session = Session.objects.get(conversation_id="d")
    assert (unstored, session.unstored_turns, session.unstored_reason) == (1, 1, "quota")
    assert recalled(store, "d").unstored_turns == 1
    assert recalled(store, "d").messages is None
    Session.objects.filter(key_id=1, conversation_id="c").delete()
    store.do([note(clock, "b" * 900, conversation="d", **answered())])
    assert recalled(store, "d").messages is not None


def test_counts_a_turn_whose_body_was_not_there(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, messages=None, **answered())])
    store.do([note(clock, "a", lost=2, **answered())])
    assert (only().unstored_turns, only().unstored_reason) == (3, "error")
    (listed,) = run(account.listing, principal(1))["sessions"]
    assert (listed["unstoredTurns"], listed["unstoredReason"]) == (3, "error")
    assert listed["storedBytes"] == only().stored_bytes


def test_never_overwrites_a_stored_response(store: SessionStore, clock: Clock) -> None:
    store.do([note(clock, "a", conversation="r", form={"created": 1}, **answered())])
    before = recalled(store, "r")
    store.do([note(clock, "other", conversation="r", **answered("no"))])
    after = recalled(store, "r")
    assert (after.messages, after.answer) == (before.messages, before.answer)
