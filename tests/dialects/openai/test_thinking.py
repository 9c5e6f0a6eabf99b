"""Thinking that is put back before tool calls, and that clients send back in any notation."""

from typing import Any

import pytest

from apiproxy.answers.kept import KeptAnswer, Recalled, call_identifier
from apiproxy.dialects.openai.chat.parse import read_chat, translate_chat
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.translate.messages_body import Target, Translation
from apiproxy.dialects.openai.translate.thinking import calls_lack_thinking
from tests.dialects.openai.support import call, chat, checked, responses, tool_turn, user

MODEL = "claude-haiku-4-5"
HM = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
AHA = {"type": "thinking", "thinking": "aha", "signature": "c2lo"}
HIDDEN = {"type": "redacted_thinking", "data": "cmVk"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "1"}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def use(call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": arguments}


def answered(*content: dict[str, Any], model: str = MODEL) -> Recalled:
    """A recent answer with these blocks, found by its calls."""
    answer = KeptAnswer(message={"id": "msg_1", "content": list(content)}, model=model)
    calls = (block["id"] for block in content if block["type"] == "tool_use")
    return Recalled({call_identifier(call_id): answer for call_id in calls})


def merged(*several: Recalled) -> Recalled:
    return Recalled({name: answer for it in several for name, answer in it.answers.items()})


def translated(messages: list[dict[str, Any]], recalled: Recalled, **body: Any) -> Translation:
    target = Target(model=MODEL, max_output_tokens=64_000)
    request = read_chat({"model": "m", "messages": messages, **body})
    return checked(translate_chat(request, target=target, strict=False, recalled=recalled))


def contents(translation: Translation) -> list[Any]:
    """Content of the assistant's messages."""
    return [it["content"] for it in translation.body["messages"] if it["role"] == "assistant"]


def said(*calls: dict[str, Any], content: str | None = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def test_put_thinking_back_before_its_call() -> None:
    question, _, result = tool_turn(("c1", "1"))
    loop = [question, said(call("c1", "f", '{"a": 1}'), content="Wait"), result]
    found = translated(loop, answered(HM, HIDDEN, text("Wait"), use("c1", a=1)), reasoning_effort="high")
    assert contents(found) == [[HM, HIDDEN, text("Wait"), use("c1", a=1)]]
    assert found.body["thinking"]["type"] == "enabled"
    assert found.ignored == ()


def test_put_thinking_between_blocks_back_in_its_place() -> None:
    answer = answered(HM, text("One. "), AHA, text("Two."), HIDDEN, use("c1"))
    exact = translated([user("a"), said(call("c1", "f"), content="One. Two."), RESULT], answer)
    assert contents(exact) == [[HM, text("One. "), AHA, text("Two."), HIDDEN, use("c1")]]
    trimmed = translated([user("a"), said(call("c1", "f"), content="One."), RESULT], answer)
    assert contents(trimmed) == [[HM, text("One."), AHA, HIDDEN, use("c1")]]
    marked = [{"type": "text", "text": "One. Two.", "cache_control": {"type": "ephemeral"}}]
    cached = translated([user("a"), {**said(call("c1", "f")), "content": marked}, RESULT], answer)
    assert [block["type"] for block in contents(cached)[0]] == [
        "thinking", "text", "thinking", "redacted_thinking", "tool_use",
    ]  # fmt: skip


def test_put_thinking_back_over_parallel_calls() -> None:
    answer = answered(HM, use("c1"), AHA, use("c2"))
    second = {**RESULT, "tool_call_id": "c2"}
    together = translated([user("a"), said(call("c1", "f"), call("c2", "f")), RESULT, second], answer)
    assert contents(together) == [[HM, use("c1"), AHA, use("c2")]]
    apart = [user("a"), said(call("c1", "f")), RESULT, said(call("c2", "f")), second]
    assert contents(translated(apart, answer)) == [[HM, use("c1")], [AHA, use("c2")]]
    partly = translated([user("a"), said(call("c2", "f")), second], answer)
    assert contents(partly) == [[HM, AHA, use("c2")]]


def test_put_thinking_back_in_several_loops_of_a_turn() -> None:
    loops = [user("a"), said(call("c1", "f")), RESULT, said(call("c2", "f")), {**RESULT, "tool_call_id": "c2"}]
    recalled = merged(answered(HM, use("c1")), answered(use("c2")))
    found = translated(loops, recalled, reasoning_effort="low")
    assert contents(found) == [[HM, use("c1")], [use("c2")]]
    assert found.body["thinking"]["type"] == "enabled"
    lost = translated(loops, answered(AHA, use("c2")), reasoning_effort="low")
    assert "thinking" not in lost.body


@pytest.mark.parametrize(
    "recalled",
    [
        answered(HM, use("c1", a=1)),
        answered(HM, {**use("c1"), "name": "g"}),
        answered(HM, use("c1"), model="claude-sonnet-4-5"),
        answered(HM, use("c2")),
        answered(use("c1")),
    ],
    ids=["other arguments", "other name", "other model", "other call", "no thinking"],
)
def test_put_no_thinking_before_other_calls(recalled: Recalled) -> None:
    found = translated([user("a"), said(call("c1", "f")), RESULT], recalled, reasoning_effort="low")
    assert contents(found) == [[use("c1")]]
    assert found.ignored == ("reasoning_effort (the tool calls lack their thinking)",)


def test_leave_thinking_of_the_client_alone() -> None:
    own = said(call("c1", "f"), thinking_blocks=[AHA])
    assert contents(translated([user("a"), own, RESULT], answered(HM, use("c1")))) == [[AHA, use("c1")]]


def test_put_no_server_blocks_back() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    found = translated([user("a"), said(call("c1", "f")), RESULT], answered(HM, search, AHA, use("c1")))
    assert contents(found) == [[HM, AHA, use("c1")]]


@pytest.mark.parametrize(
    ("given", "sent", "ignored"),
    [
        ({"reasoning_content": "hm"}, [], ("messages.reasoning_content",)),
        ({"reasoning": "hm"}, [], ("messages.reasoning",)),
        ({"reasoning_content": None, "reasoning": ""}, [], ()),
        ({"thinking_blocks": [HM, HIDDEN], "reasoning_content": "hm"}, [HM, HIDDEN], ()),
        ({"thinking_blocks": [{**HM, "index": 0}]}, [HM], ()),
        ({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}, [], ("messages.thinking_blocks",)),
        ({"thinking_blocks": [{**HM, "signature": ""}, HIDDEN]}, [HIDDEN], ("messages.thinking_blocks",)),
        ({"thinking_blocks": "hm"}, [], ("messages.thinking_blocks",)),
        ({"thinking_blocks": [1, None, {"type": []}]}, [], ("messages.thinking_blocks",)),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "c2ln"}]}, [HM], ()),
        (
            {
                "reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "cmVk", "format": "anthropic-claude-v1"},
                    {"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"},
                ]
            },
            [HIDDEN],
            ("messages.reasoning_details",),
        ),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]}, [], ("messages.reasoning_details",)),
    ],
)
def test_use_or_report_thinking_of_the_client(given: dict[str, Any], sent: list[Any], ignored: object) -> None:
    found = chat({"messages": [user("a"), {"role": "assistant", "content": "b", **given}, user("c")]}, model=MODEL)
    assert found.body["messages"][1]["content"] == ([*sent, text("b")] if sent else "b")
    assert found.ignored == ignored


def test_report_no_text_whose_thinking_is_put_back() -> None:
    loop = [user("a"), said(call("c1", "f"), reasoning_content="hm"), RESULT]
    assert translated(loop, answered(HM, use("c1"))).ignored == ()
    assert translated(loop, Recalled()).ignored == ("messages.reasoning_content",)


def test_own_thinking_gives_way_where_the_upstream_rejects_it() -> None:
    own = {"type": "enabled", "budget_tokens": 2048}
    lost = chat({"messages": tool_turn(("c1", "1")), "thinking": own}, model=MODEL)
    assert "thinking" not in lost.body
    assert lost.ignored == ("thinking (the tool calls lack their thinking)",)
    forced: dict[str, Any] = {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}
    found = chat({"thinking": own, **forced}, model=MODEL)
    assert "thinking" not in found.body
    assert found.ignored == ("thinking (this model does not think when a tool is forced)",)


@pytest.mark.parametrize(
    ("messages", "lack"),
    [
        ([], False),
        ([user("a")], False),
        ([user("a"), {"role": "assistant", "content": "b"}], False),
        ([user("a"), {"role": "assistant", "content": [use("c1")]}, user([{"type": "tool_result"}])], True),
        ([user("a"), {"role": "assistant", "content": [HM, use("c1")]}, user([{"type": "tool_result"}])], False),
        ([user("a"), {"role": "assistant", "content": [use("c1"), HM]}, user([{"type": "tool_result"}])], True),
        ([user("a"), {"role": "assistant", "content": [use("c1")]}, user([{"type": "tool_result"}]), user("b")], False),
    ],
)
def test_notice_calls_without_thinking(messages: list[dict[str, Any]], lack: bool) -> None:
    assert calls_lack_thinking(messages) is lack


def test_both_apis_treat_a_loop_without_thinking_alike() -> None:
    items = [
        {"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    lost = responses({"input": items, "reasoning": {"effort": "low"}}, model=MODEL)
    assert "thinking" not in lost.body
    assert lost.ignored == ("reasoning.effort (the tool calls lack their thinking)",)
    request = read_responses({"model": "m", "input": items, "reasoning": {"effort": "low"}})
    target = Target(model=MODEL, max_output_tokens=64_000)
    kept = translate_responses(request, target=target, strict=False, recalled=answered(HM, use("c1")))
    assert kept.body["messages"][1]["content"] == [HM, use("c1")]
    assert kept.body["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    ("body", "shown", "effort"),
    [
        ({}, False, None),
        ({"reasoning_effort": "low"}, True, "low"),
        ({"reasoning_effort": {"effort": "low", "summary": "auto"}}, True, "low"),
        ({"reasoning_effort": "low", "include_reasoning": False}, False, "low"),
        ({"reasoning_effort": "none"}, False, None),
        ({"reasoning": {"effort": "high"}}, True, "high"),
        ({"reasoning": {"effort": "high", "exclude": True}}, False, "high"),
        ({"reasoning": {"max_tokens": 2000}}, True, "low"),
        ({"reasoning": {"enabled": True}}, True, "medium"),
        ({"reasoning": {"enabled": False}}, False, None),
        ({"thinking": {"type": "enabled"}}, True, "medium"),
        ({"thinking": {"type": "adaptive"}}, True, None),
        ({"include_reasoning": True}, True, None),
    ],
)
def test_show_thinking_where_it_was_requested(body: dict[str, Any], shown: bool, effort: str | None) -> None:
    found = chat(body, model="claude-opus-4-8")
    assert found.reply.reasoning is shown
    assert found.body.get("output_config", {}).get("effort") == effort
    assert found.ignored == ()
