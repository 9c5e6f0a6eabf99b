"""The prompt that is counted for an agent."""

from apiproxy.engines.agents.counting import counted_body
from tests.engines.agents.support import agent, body


def test_count_prompt_of_agent() -> None:
    counted = counted_body(body("hi"), agent(system="You answer from the handbook."))

    assert counted["system"] == "You answer from the handbook."
    assert counted["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    assert counted.keys() == {"system", "messages"}


def test_count_earlier_calls_as_the_upstream_gets_them() -> None:
    call = {"type": "mcp_tool_use", "id": "t1", "name": "look", "server_name": "search", "input": {"q": "x"}}
    result = {"type": "mcp_tool_result", "tool_use_id": "t1", "is_error": False, "content": "found"}
    said = {"role": "assistant", "content": [call, result, {"type": "text", "text": "Here."}]}
    given = body("hi", messages=[{"role": "user", "content": "hi"}, said, {"role": "user", "content": "more"}])

    counted = counted_body(given, agent())

    assert [message["role"] for message in counted["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert [tool["name"] for tool in counted["tools"]] == ["mcp__search__look"]


def test_count_system_of_client_after_that_of_agent() -> None:
    counted = counted_body(body("hi", system="In French."), agent(system="Help.", allow_client_system=True))

    assert [block["text"] for block in counted["system"]][-2:] == ["Help.", "In French."]
