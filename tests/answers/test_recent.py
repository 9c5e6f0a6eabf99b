"""Recent answers from the end of a run to the next request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError

from apiproxy.answers import recent as module
from apiproxy.answers.recent import RecentAnswers
from apiproxy.answers.store import AnswerReader, AnswerWriter
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Cancelled, CancelReason, Finished, Streamed, Usage
from apiproxy.core.message import unfold
from apiproxy.core.principal import Principal
from apiproxy.core.sealing import derive_seal_key
from apiproxy.core.turns import Asked, Caller, Keeping, Turn, new_id
from apiproxy.models import ApiKey, RecentAnswer, RecentAnswerName

pytestmark = pytest.mark.django_db(transaction=True)

MINE = Principal(key_id=1, label="mine", scopes=frozenset(), seal_key=derive_seal_key("sk-mine"))
OTHER = Principal(key_id=2, label="other", scopes=frozenset(), seal_key=derive_seal_key("sk-other"))
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


@pytest.fixture
async def answers() -> AsyncIterator[RecentAnswers]:
    for principal in (MINE, OTHER):  # answers of unknown keys are deleted
        await ApiKey.objects.acreate(pk=principal.key_id, name=principal.label, digest=principal.label)
    made = RecentAnswers()
    yield made
    await made.stop()


def turn_of(**keeping: Any) -> Turn:
    return Turn(
        id=new_id("req_"),
        dialect="openai",
        body={"messages": [{"role": "user", "content": "hi"}]},
        model="m",
        requested_model="m",
        stream=True,
        caller=Caller(key_id=MINE.key_id, key_label="mine"),
        received_at=1_800_000_000.0,
        body_bytes=10,
        keeping=Keeping(seal_key=MINE.seal_key, **keeping),
    )


def finish(answers: RecentAnswers, *blocks: dict[str, Any], message_id: str = "msg_1", **keeping: Any) -> None:
    turn = turn_of(**keeping)
    message = {"id": message_id, "role": "assistant", "content": list(blocks), "stop_reason": "end_turn", "usage": {}}
    answers.on_event(turn, Streamed(0.0, list(unfold(message))))
    answers.on_event(turn, Finished(0.0, "end_turn", Usage()))


async def find(answers: RecentAnswers, *identifiers: str, principal: Principal = MINE, **options: Any) -> Any:
    return await answers.find(principal, identifiers, **{"room_bytes": 10**6, "request_id": "req_1", **options})


async def test_find_an_answer_as_soon_as_it_has_ended(answers: RecentAnswers) -> None:
    asked = Asked([{"role": "user", "content": "hi"}], [{"type": "text", "text": "be brief"}])
    finish(answers, THOUGHT, CALL, form={"a": 1}, asked=asked, before=("msg_0",))
    found = await find(answers, "answer 1", "call toolu_1", "call unknown")
    answer = found.answers["answer 1"]
    assert found.answers == {"answer 1": answer, "call toolu_1": answer}
    assert answer.content == [THOUGHT, CALL]
    assert (answer.model, answer.form, answer.asked, answer.before) == ("m", {"a": 1}, asked, ("msg_0",))
    assert found.by_call() == {"toolu_1": answer}
    assert not (await find(answers, "answer 1", principal=OTHER)).answers


async def test_keep_nothing_of_runs_that_did_not_finish(answers: RecentAnswers) -> None:
    turn = turn_of()
    answers.on_event(turn, Streamed(0.0, list(unfold({"id": "msg_1", "content": [CALL]}))))
    answers.on_event(turn, Cancelled(0.0, CancelReason.CLIENT_DISCONNECT))
    answers.on_event(replace(turn, keeping=None), Finished(0.0, "end_turn", Usage()))
    finish(answers, {"type": "text", "text": "hi"}, calls_only=True)
    assert await answers.flush()
    assert await RecentAnswer.objects.acount() == 0
    assert not answers._collected


async def test_wait_for_an_answer_of_another_process(answers: RecentAnswers) -> None:
    async def write_late() -> None:
        await asyncio.sleep(0.1)
        other = RecentAnswers()
        finish(other, CALL)
        await other.stop()

    late = asyncio.create_task(write_late())
    assert (await find(answers, "answer 1", needed=("answer 1",))).answers
    await late


async def test_refuse_rows_that_were_exchanged(answers: RecentAnswers) -> None:
    finish(answers, CALL)
    finish(answers, {"type": "text", "text": "two"}, message_id="msg_2")
    assert await answers.flush()
    first, second = [row async for row in RecentAnswer.objects.order_by("pk")]
    await RecentAnswerName.objects.filter(answer=first).aupdate(answer=second)
    assert not (await find(answers, "answer 1", "call toolu_1")).answers
    assert (await find(answers, "answer 2")).answers


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"x" * 200])
async def test_refuse_rows_that_cannot_be_opened(answers: RecentAnswers, sealed: bytes) -> None:
    finish(answers, CALL)
    assert await answers.flush()
    await RecentAnswer.objects.aupdate(sealed=sealed)
    assert not (await find(answers, "answer 1")).answers


async def test_refuse_answers_with_too_many_values(answers: RecentAnswers) -> None:
    finish(answers, {**CALL, "input": {"a": [{}] * 200_000}})
    finish(answers, {**CALL, "id": "toolu_2", "input": {"a": [{}] * 200_000}}, message_id="msg_2")
    with pytest.raises(ProxyError) as caught:
        await find(answers, "answer 1", "answer 2", room_bytes=10**7)
    assert caught.value.kind is FailureKind.INVALID_REQUEST


async def test_store_nothing_beyond_the_memory_for_writes(
    answers: RecentAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 1_000)
    finish(answers, {"type": "text", "text": "x" * 900})
    finish(answers, {"type": "text", "text": "x" * 900}, message_id="msg_2")
    assert await answers.flush()
    await asyncio.sleep(0)
    assert answers.not_stored == 1
    assert await RecentAnswer.objects.acount() == 1
    finish(answers, {"type": "text", "text": "x" * 900}, message_id="msg_3")
    assert await answers.flush()
    assert await RecentAnswer.objects.acount() == 2


async def test_report_a_database_that_fails(answers: RecentAnswers, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(AnswerReader, "do", fail)
    monkeypatch.setattr(AnswerWriter, "do", fail)
    for _ in range(2):  # the second fails at once
        with pytest.raises(ProxyError) as caught:
            await find(answers, "answer 1")
        assert caught.value.kind is FailureKind.DATABASE_UNAVAILABLE


async def test_forget_an_answer(answers: RecentAnswers) -> None:
    finish(answers, CALL)
    assert not await answers.forget(OTHER, "resp_1", request_id="req_1")
    assert await answers.forget(MINE, "resp_1", request_id="req_1")
    assert not await answers.forget(MINE, "resp_1", request_id="req_1")
    assert await RecentAnswerName.objects.acount() == 0
