"""A client's messages as turns of the CLI's conversation."""

from typing import Any

import pytest

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.agents.history import CONTINUE, MAX_MESSAGES, Replay, replay_of

AGENT = AgentSpec(slug="bot", version=1, display_name="Bot", model="claude-sonnet-4-5")
USER = {"role": "user", "content": "question"}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def call(call_id: str, name: str = "lookup", server: str = "db") -> dict[str, Any]:
    return {"type": "mcp_tool_use", "id": call_id, "name": name, "server_name": server, "input": {"n": 1}}


def result(call_id: str, value: Any = "2", *, is_error: bool = False) -> dict[str, Any]:
    return {"type": "mcp_tool_result", "tool_use_id": call_id, "content": value, "is_error": is_error}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def roles(replay: Replay) -> str:
    return "".join(turn.role[0] for turn in replay.turns)


def test_prompt_with_last_user_message() -> None:
    replay = replay_of([USER, assistant(text("yes")), {"role": "user", "content": "and now?"}], AGENT)

    assert roles(replay) == "ua"
    assert replay.prompt == [text("and now?")]


def test_split_run_into_turns() -> None:
    run = assistant(text("I look"), call("a"), call("b", "Bash", "agent"), result("b"), result("a"), text("done"))
    replay = replay_of([USER, run, USER], AGENT)

    assert roles(replay) == "uaua"
    assert replay.turns[1].content == [
        text("I look"),
        {"type": "tool_use", "id": "a", "name": "mcp__db__lookup", "input": {"n": 1}},
        {"type": "tool_use", "id": "b", "name": "Bash", "input": {"n": 1}},
    ]
    assert [block["tool_use_id"] for block in replay.turns[2].content] == ["b", "a"]
    assert replay.turns[3].content == [text("done")]


def test_keep_rounds_apart() -> None:
    run = assistant(call("a"), result("a"), call("b"), result("b"), text("done"))

    assert roles(replay_of([USER, run, USER], AGENT)) == "uauaua"


def test_go_on_from_results_after_pause() -> None:
    replay = replay_of([USER, assistant(text("I look"), call("a"), result("a"))], AGENT)

    assert roles(replay) == "ua"
    assert replay.prompt == [{"type": "tool_result", "tool_use_id": "a", "content": "2"}]


def test_go_on_after_text() -> None:
    replay = replay_of([USER, assistant(text("half of"))], AGENT)

    assert roles(replay) == "ua"
    assert replay.prompt == [text(CONTINUE)]


def test_answer_calls_without_result() -> None:
    replay = replay_of([USER, assistant(call("a")), USER], AGENT)

    (missing,) = replay.turns[2].content
    assert missing["is_error"] is True
    assert missing["tool_use_id"] == "a"


def test_keep_images_of_results() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
    replay = replay_of([USER, assistant(call("a"), result("a", [image], is_error=False), text("ok")), USER], AGENT)

    assert replay.turns[2].content[0]["content"] == [image]


def test_keep_blocks_of_user_and_signed_thinking() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    cut = {"type": "thinking", "thinking": "hm", "signature": ""}
    history = [{"role": "user", "content": [image, text("this")]}, assistant(thinking, cut, text("yes")), USER]
    replay = replay_of(history, AGENT)

    assert replay.turns[0].content == [image, text("this")]
    assert replay.turns[1].content == [thinking, text("yes")]


def test_remove_cache_marks() -> None:
    marked = {**text("a"), "cache_control": {"type": "ephemeral"}}

    assert replay_of([{"role": "user", "content": [marked]}], AGENT).prompt == [text("a")]


@pytest.mark.parametrize("display", ["names", "none"])
def test_leave_out_calls_whose_content_was_hidden(display: Any) -> None:
    agent = AgentSpec(slug="bot", version=1, display_name="Bot", model="m", show_tool_calls=display)
    replay = replay_of([USER, assistant(text("I look"), call("a"), result("a", []), text("done")), USER], agent)

    assert roles(replay) == "ua"
    assert replay.turns[1].content == [text("I look"), text("done")]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("text", "messages"),
        ([], "messages"),
        ([USER] * (MAX_MESSAGES + 1), "messages"),
        ([{"role": "system", "content": "a"}], "messages.0.role"),
        ([USER, {"role": "user", "content": 5}], "messages.1.content"),
        ([USER, {"role": "assistant", "content": ["a"]}], "messages.1.content"),
        ([USER, assistant(result("a"))], "messages.1.content.0.tool_use_id"),
        ([USER, assistant(call("a"), result("a"), result("a"))], "messages.1.content.2.tool_use_id"),
        ([USER, assistant({"type": "mcp_tool_use", "id": 5})], "messages.1.content.0"),
    ],
)
def test_reject_invalid_messages(messages: Any, param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        replay_of(messages, AGENT)

    assert caught.value.kind is FailureKind.INVALID_REQUEST
    assert caught.value.param == param
