"""Tools of every kind with the official client, over a real port, with both engines."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.responses import Response

from tests.dialects.openai.codex import startup_body
from tests.dialects.openai.conftest import options
from tests.dialects.openai.support import function
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL, NEW = "claude-haiku-4-5", "claude-sonnet-5-5"
PATCH = '*** Begin Patch\n*** Update File: "a"\n+\té😀\\\n*** End Patch'
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module", params=["sdk", "http"])
def client(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    env = {"CLAUDE_PROXY_ENGINE": request.param}
    gateway = GatewayProcess(tmp_path_factory.mktemp(request.param), upstream=stand_in.base_url, env=env).start()
    try:
        with openai.OpenAI(**options(gateway)) as made:
            yield made
    finally:
        gateway.stop()


@pytest.fixture
def mark() -> str:
    """A text that finds this test's exchanges at the stand-in."""
    return f"mark-{secrets.token_hex(8)}"


def tool(name: str, **arguments: Any) -> str:
    """Directive for a call; `]]` must not occur in it."""
    return f"[[tool={name}:{json.dumps(arguments)}]]"


def typed(body: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the client for the body: what its types lack goes as an extra field."""
    known = {name: value for name, value in body.items() if name != "client_metadata"}
    return {**known, "extra_body": {name: body[name] for name in body.keys() - known.keys()}}


def streamed(client: openai.OpenAI, body: dict[str, Any]) -> tuple[list[Any], Response]:
    """The events and the whole response."""
    with client.responses.create(**typed(body)) as stream:
        events: list[Any] = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    return events, events[-1].response


def folded_message(client: openai.OpenAI, asked: dict[str, Any]) -> Any:
    """The message as the client's state has it; its `get_final_completion` fails on custom calls of any server."""
    state = ChatCompletionStreamState()
    with client.chat.completions.create(**asked, stream=True) as stream:
        for chunk in stream:
            state.handle_chunk(chunk)
    return state.current_completion_snapshot.choices[0].message


def test_start_codex_and_run_a_loop_of_all_its_tools(
    client: openai.OpenAI, stand_in: StandInProcess, mark: str
) -> None:
    calls = tool("apply_patch", input=PATCH) + tool("mcp__calc__add", a=1, b=2) + tool("tool_search", query="sums")
    body = startup_body(prompt=f"{mark} {calls}")
    response = client.responses.with_raw_response.create(**typed(body))
    assert "tools" not in response.headers["x-proxy-ignored"]
    with response.parse() as stream:
        events: list[Any] = list(stream)
    patch, add, search = events[-1].response.output
    assert (patch.type, patch.name, patch.input) == ("custom_tool_call", "apply_patch", PATCH)
    assert "".join(it.delta for it in events if it.type == "response.custom_tool_call_input.delta") == PATCH
    (done,) = (event for event in events if event.type == "response.custom_tool_call_input.done")
    assert done.input == PATCH
    assert (add.type, add.namespace, add.name) == ("function_call", "mcp__calc", "add")
    assert json.loads(add.arguments) == {"a": 1, "b": 2}
    assert (search.type, search.execution, search.arguments) == ("tool_search_call", "client", {"query": "sums"})
    found = {"type": "function", "name": "multiply", "defer_loading": True, "parameters": {"type": "object"}}
    items = [
        *(item.to_dict() for item in (patch, add, search)),
        {"type": "custom_tool_call_output", "call_id": patch.call_id, "output": "Success"},
        {"type": "function_call_output", "call_id": add.call_id, "output": "3"},
        {
            "type": "tool_search_output",
            "call_id": search.call_id,
            "execution": "client",
            "status": "completed",
            "tools": [found],
        },
    ]
    _, last = streamed(client, startup_body(*items, prompt=f"{mark} {calls}"))
    assert "Success" in last.output_text
    sent = stand_in.recorded(containing=mark)[-1].body
    assert [it["name"] for it in sent["messages"][-2]["content"]] == ["apply_patch", "mcp__calc__add", "tool_search"]
    assert sent["messages"][-2]["content"][0]["input"] == {"input": PATCH}
    assert "multiply" in [offered["name"] for offered in sent["tools"]]


@pytest.mark.parametrize("stream", [False, True])
def test_run_the_built_in_tools_of_the_client(client: openai.OpenAI, stream: bool, mark: str) -> None:
    calls = [
        tool("local_shell", command=["ls", "-l"], timeout_ms=5),
        tool("shell", commands=["ls"]),
        tool("apply_patch", type="create_file", path="a", diff="+x"),
    ]
    asked: Any = {
        "model": MODEL,
        "tools": [{"type": "local_shell"}, {"type": "shell"}, {"type": "apply_patch"}],
        "input": [{"role": "user", "content": mark + "".join(calls)}],
    }
    if stream:
        _, first = streamed(client, asked | {"stream": True})
    else:
        first = client.responses.create(**asked)
    local, shell, patch = first.output
    assert local.type == "local_shell_call"
    assert local.action.command == ["ls", "-l"]
    assert local.action.timeout_ms == 5
    assert shell.type == "shell_call"
    assert shell.action.commands == ["ls"]
    assert patch.type == "apply_patch_call"
    assert patch.operation.to_dict() == {"type": "create_file", "path": "a", "diff": "+x"}
    shown = [{"stdout": "shown", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    asked["input"] += [
        *(item.to_dict() for item in first.output),
        {"type": "local_shell_call_output", "call_id": local.call_id, "id": "out_1", "output": "listed"},
        {"type": "shell_call_output", "call_id": shell.call_id, "output": shown},
        {"type": "apply_patch_call_output", "call_id": patch.call_id, "status": "completed", "output": "patched"},
    ]
    last = client.responses.create(**asked)
    for word in ("listed", "shown", "patched"):
        assert word in last.output_text


@pytest.mark.parametrize("stream", [False, True])
def test_run_a_loop_of_custom_tools_in_chat(
    client: openai.OpenAI, stand_in: StandInProcess, stream: bool, mark: str
) -> None:
    asked: Any = {
        "model": MODEL,
        "tools": [{"type": "custom", "custom": {"name": "apply_patch", "description": "d"}}, function("f")],
        "messages": [{"role": "user", "content": mark + tool("apply_patch", input=PATCH) + tool("f")}],
    }
    if stream:
        message: Any = folded_message(client, asked)
    else:
        message = client.chat.completions.create(**asked).choices[0].message
    custom, plain = message.tool_calls
    assert custom.type == "custom"
    custom_call = custom.custom if isinstance(custom.custom, dict) else custom.custom.to_dict()
    assert custom_call == {"name": "apply_patch", "input": PATCH}
    assert plain.function.name == "f"
    asked["messages"] += [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": custom.id, "type": "custom", "custom": custom_call},
                {"id": plain.id, "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": custom.id, "content": "patched"},
        {"role": "tool", "tool_call_id": plain.id, "content": "f is done"},
    ]
    last = client.chat.completions.create(**asked).choices[0].message
    assert last.content is not None
    assert "patched" in last.content
    sent = stand_in.recorded(containing=mark)[-1].body["messages"][1]["content"]
    assert [(block["name"], block["input"]) for block in sent] == [("apply_patch", {"input": PATCH}), ("f", {})]


@pytest.mark.parametrize("stream", [False, True])
def test_force_a_function_on_the_newest_model(
    client: openai.OpenAI, stand_in: StandInProcess, stream: bool, mark: str
) -> None:
    asked: Any = {
        "model": NEW,
        "tools": [function("get_weather", CITY)],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "messages": [{"role": "user", "content": f'{mark}[[think=Hm.]][[say={{"city": "Rome"}}]]'}],
    }
    if stream:
        with client.chat.completions.stream(**asked) as events:
            choice: Any = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**asked).choices[0]
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert call.function.arguments.replace(" ", "") == '{"city":"Rome"}'
    assert choice.finish_reason == "tool_calls"
    sent = stand_in.only(mark).body
    assert sent["output_config"]["format"]["schema"]["required"] == ["city"]
    assert not sent.get("tools")


@pytest.mark.parametrize("stream", [False, True])
def test_force_a_function_beside_a_text_format(client: openai.OpenAI, stream: bool) -> None:
    """As instructor's mode RESPONSES_TOOLS does."""
    closed = {**CITY, "additionalProperties": False}
    asked: Any = {
        "model": NEW,
        "input": [{"role": "user", "content": '[[say={"city": "Rome"}]]'}],
        "text": {"format": {"type": "json_schema", "name": "P", "strict": True, "schema": closed}},
        "tools": [{"type": "function", "name": "P", "parameters": closed, "strict": True}],
        "tool_choice": {"type": "function", "name": "P"},
    }
    if stream:
        _, response = streamed(client, asked | {"stream": True})
    else:
        response = client.responses.create(**asked)
    (call,) = response.output
    assert call.type == "function_call"
    assert (call.name, call.arguments.replace(" ", "")) == ("P", '{"city":"Rome"}')
    assert response.output_text == ""
