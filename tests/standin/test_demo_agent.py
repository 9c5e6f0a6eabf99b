"""Steps of the demo's agent."""

from typing import Any

from apiproxy.standin.demo_agent import LIST_TOOL, READ_TOOL
from apiproxy.standin.scenarios import demo

TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in (LIST_TOOL, READ_TOOL)]


def step(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Content of the answer to these messages."""
    body = {"model": "m", "max_tokens": 9, "tools": TOOLS, "messages": [*messages]}
    return [block.complete for block in demo(body).blocks]


def results_of(content: list[dict[str, Any]], text: str) -> dict[str, Any]:
    calls = [block["id"] for block in content if block["type"] == "tool_use"]
    return {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call, "content": text} for call in calls],
    }


def test_list_then_read_two_pages_then_answer_from_them() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What about refunds?"}]
    kinds = []
    for text in ("refunds, shipping", "Refunds take five days.", ""):
        content = step(*messages)
        kinds.append([(block["type"], block.get("name")) for block in content])
        messages += [{"role": "assistant", "content": content}, results_of(content, text)]

    assert kinds == [
        [("text", None), ("tool_use", LIST_TOOL)],
        [("tool_use", READ_TOOL), ("tool_use", READ_TOOL)],
        [("text", None)],
    ]
    assert "Refunds take five days." in messages[-2]["content"][0]["text"]


def test_begin_again_for_the_next_question() -> None:
    asked: dict[str, Any] = {"role": "user", "content": "What about refunds?"}
    listed = step(asked)
    history = [asked, {"role": "assistant", "content": listed}, results_of(listed, "refunds")]

    content = step(
        *history, {"role": "assistant", "content": "Five days."}, {"role": "user", "content": "And shipping?"}
    )

    assert content[-1]["name"] == LIST_TOOL


def test_answer_other_requests_with_text() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    assert [block.complete["type"] for block in demo(body).blocks] == ["text"]
