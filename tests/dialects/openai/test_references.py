"""Referenced items of every kind are those of the recent answer."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from apiproxy.answers.kept import KeptAnswer, Recalled, answer_identifier
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.references import MAX_ANSWERS, items_of, kept_form, wanted_answers
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.sealed_search import is_sealed_search
from apiproxy.dialects.openai.translate.messages_body import Target
from tests.dialects.openai.support import checked, folded, responses
from tests.dialects.openai.test_any_answer import answers

MODEL = "claude-sonnet-4-5"
TEXT = {"type": "text", "text": "Hello"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
MORE = {"role": "user", "content": "more"}


def kept(*content: dict[str, Any], model: str = MODEL, reply: ResponsesReply | None = None) -> KeptAnswer:
    message = {"id": "msg_01Abc", "model": model, "content": list(content)}
    return KeptAnswer(message=message, model=model, form=kept_form(reply or responses({}).reply))


def translated(items: list[Any], *answers: KeptAnswer, **body: Any) -> Any:
    recalled = Recalled({answer_identifier(answer.message["id"]): answer for answer in answers})
    request = read_responses({"model": "m", "input": items, **body})
    target = Target(model=MODEL, max_output_tokens=64_000)
    found = translate_responses(request, target=target, strict=False, recalled=recalled)
    checked(found)
    return found


def reference(item_id: str, *, typed: bool = True) -> dict[str, str]:
    return {"type": "item_reference", "id": item_id} if typed else {"id": item_id}


@pytest.mark.parametrize("typed", [True, False])
def test_continue_from_referenced_text(typed: bool) -> None:
    found = translated([{"role": "user", "content": "hi"}, reference("msg_01Abc_0", typed=typed), MORE], kept(TEXT))
    assert [message["content"] for message in found.body["messages"]] == ["hi", "Hello", "more"]


def test_continue_a_tool_loop_from_references() -> None:
    output = {"type": "function_call_output", "call_id": "toolu_1", "output": "1"}
    shown = responses({"reasoning": {"summary": "auto"}}).reply
    items = [MORE, reference("rs_01Abc_0"), reference("fc_01Abc_1"), output]
    found = translated(items, kept(THOUGHT, CALL, reply=shown))
    assert found.body["messages"][1]["content"] == [THOUGHT, CALL]
    hidden = translated([MORE, reference("fc_01Abc_1"), output], kept(THOUGHT, CALL))
    assert hidden.body["messages"][1]["content"] == [THOUGHT, CALL]


def test_find_thinking_by_the_id_of_its_item() -> None:
    items = [MORE, {"type": "reasoning", "id": "rs_01Abc_0", "summary": []}, {"role": "assistant", "content": "Hello"}]
    found = translated([*items, MORE], kept(THOUGHT, TEXT))
    assert found.body["messages"][1]["content"] == [THOUGHT, TEXT]
    assert translated([*items, MORE]).body["messages"][1]["content"] == "Hello"


def test_drop_thinking_of_another_model_and_report_it() -> None:
    shown = responses({"reasoning": {"summary": "auto"}}).reply
    other = kept(THOUGHT, TEXT, model="claude-opus-5-5", reply=shown)
    found = translated([MORE, reference("rs_01Abc_0"), reference("msg_01Abc_1"), MORE], other)
    assert found.body["messages"][1]["content"] == "Hello"
    assert found.ignored == ("input.reasoning (thinking of another model)",)


@pytest.mark.parametrize("item_id", ["msg_01Abc_7", "msg_02_0", "rs_01Abc_0", "x", "", "msg_", "_0", "msg_01Abc_0x"])
def test_reject_unknown_references_by_field(item_id: str) -> None:
    with pytest.raises(ProxyError) as caught:
        translated([MORE, reference(item_id), MORE], kept(TEXT))
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    assert caught.value.param == "input.1.id"
    assert "store: false" in caught.value.message


def test_reject_a_second_reference_to_an_item() -> None:
    with pytest.raises(ProxyError, match="second reference") as caught:
        translated([MORE, reference("msg_01Abc_0"), MORE, reference("msg_01Abc_0")], kept(TEXT))
    assert caught.value.param == "input.3.id"


def test_reject_references_to_too_many_answers() -> None:
    items = [reference(f"msg_{number}_0") for number in range(MAX_ANSWERS + 1)]
    assert len(wanted_answers(items[1:], thinks=False).needed) == MAX_ANSWERS
    with pytest.raises(ProxyError) as caught:
        wanted_answers(items, thinks=False)
    assert caught.value.param == "input"


def test_want_answers_of_calls_only_where_the_model_may_think() -> None:
    items = [
        reference("fc_01_0"),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "f", "input": ""},
        {"type": "reasoning", "id": "rs_02_0"},
        {"type": "reasoning", "id": "rs_03_0", "encrypted_content": "x"},
        {"role": "user", "content": "a"},
    ]
    assert wanted_answers(items, thinks=False).useful == ("answer 02",)
    wanted = wanted_answers(items, thinks=True)
    assert wanted.needed == ("answer 01",)
    assert wanted.useful == ("answer 02", "call c2", "call c1")


@hypothesis.given(answers(), st.booleans(), st.booleans(), st.sampled_from([None, "json_answer"]))
def test_references_and_items_are_the_same(
    events: Any, summary: bool, encrypted: bool, answer_tool: str | None
) -> None:
    """A conversation of references is the one of the items that the client got."""
    include = {"include": ["reasoning.encrypted_content"]} if encrypted else {}
    reply = responses({**include, **({"reasoning": {"summary": "auto"}} if summary else {})}).reply
    reply = ResponsesReply(echo=reply.echo, reasoning=summary, encrypted=encrypted, answer_tool=answer_tool)
    message = folded(events)
    answer = KeptAnswer(message=message, model=MODEL, form=kept_form(reply))
    given = response_object(message, reply, created=0)["output"]
    assert [item["id"] for item in given] == [
        item["id"]
        for item in items_of(answer)
        if item["type"] != "reasoning" or encrypted or (summary and not is_sealed_search(item["encrypted_content"]))
    ]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "1"}
        for item in given
        if item["type"] == "function_call"
    ]
    by_id = translated([MORE, *(reference(item["id"]) for item in given), *results, MORE], answer)
    whole = translated([MORE, *items_of_client(answer, given), *results, MORE], answer)
    assert by_id.body == whole.body


def items_of_client(answer: KeptAnswer, given: list[Any]) -> list[Any]:
    """The items as a client has them that asked for encrypted thinking."""
    ids = {item["id"] for item in given}
    return [item for item in items_of(answer) if item["id"] in ids]
