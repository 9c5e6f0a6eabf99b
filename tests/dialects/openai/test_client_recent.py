"""Requests that refer to recent answers, with the official client, where the operator stores no bodies."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from tests.dialects.openai.conftest import options
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-sonnet-5-5"
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
CHAT_WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
SHOWN: Any = {"reasoning": {"summary": "auto"}}


@dataclass(frozen=True)
class Site:
    """A gateway, and the clients of two keys that store no bodies."""

    gateway: GatewayProcess
    mine: openai.OpenAI
    other: openai.OpenAI


@pytest.fixture(scope="module", params=["sdk", "http"])
def site(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_ENGINE": request.param}
    gateway = GatewayProcess(tmp_path_factory.mktemp("recent"), upstream=stand_in.base_url, env=env).start()
    with contextlib.ExitStack() as stack:
        stack.callback(gateway.stop)
        secrets = make_keys(gateway, {"mine": {}, "other": {}})
        made = [stack.enter_context(openai.OpenAI(**options(gateway) | {"api_key": it})) for it in secrets.values()]
        yield Site(gateway, *made)


@pytest.fixture
def mark() -> str:
    """A text that is in this test's prompts alone."""
    return f"mark-{uuid.uuid4().hex}"


def asked(client: openai.OpenAI, items: list[Any], *, streamed: bool = False, **body: Any) -> Any:
    """The response to these items."""
    if not streamed:
        return client.responses.create(model=MODEL, input=items, **body)
    with client.responses.stream(model=MODEL, input=items, **body) as stream:
        return stream.get_final_response()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_text", "text": text}]}


def named(response: Any) -> list[dict[str, Any]]:
    """The items of a response as the AI SDK sends them in the next request."""
    return [{"type": "item_reference", "id": item.id} for item in response.output]


def results(response: Any) -> list[dict[str, Any]]:
    return [
        {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
        for item in response.output
        if item.type == "function_call"
    ]


def last_sent(stand_in: StandInProcess, mark: str) -> list[Any]:
    """Messages of the newest request upstream."""
    messages: list[Any] = stand_in.recorded(containing=mark)[-1].body["messages"]
    return messages


@pytest.mark.parametrize("streamed", [False, True])
def test_three_turns_with_a_tool_loop_by_reference(
    site: Site, stand_in: StandInProcess, mark: str, streamed: bool
) -> None:
    tools: Any = {"tools": [WEATHER], **SHOWN, "streamed": streamed}
    items = [user(f"{mark} [[think=hm]] [[say=Looking.]] [[tool=get_weather:{{}}]]")]
    first = asked(site.mine, items, **tools)
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    items += [*named(first), *results(first)]
    second = asked(site.mine, items, **tools)
    thought, text, call = last_sent(stand_in, mark)[1]["content"]
    assert (thought["type"], thought["thinking"], bool(thought["signature"])) == ("thinking", "hm", True)
    assert (text["text"], call["type"]) == ("Looking.", "tool_use")
    items += [*named(second), user("[[say=two]]")]
    third = asked(site.mine, items, **tools)
    items += [*named(third), user("[[say=three]]")]
    assert asked(site.mine, items, **tools).output_text == "three"
    roles = [message["role"] for message in last_sent(stand_in, mark)]
    assert roles == ["user", "assistant"] * 3 + ["user"]


def test_reject_references_of_other_keys_and_unknown_ones(site: Site, mark: str) -> None:
    first = asked(site.mine, [user(f"{mark} [[say=secret]]")])
    unkept = asked(site.mine, [user(f"{mark} [[say=x]]")], store=False)
    for client, items in (
        (site.other, named(first)),
        (site.mine, named(unkept)),
        (site.mine, [{"id": "msg_up1_0"}]),
    ):
        with pytest.raises(openai.BadRequestError, match="store: false") as caught:
            asked(client, [user("a"), *items, user("b")])
        assert caught.value.param == "input.1.id"


@pytest.mark.parametrize("streamed", [False, True])
def test_continue_from_the_previous_response(site: Site, stand_in: StandInProcess, mark: str, streamed: bool) -> None:
    client = site.mine
    said = [{"role": "developer", "content": "be brief"}, user(f"{mark} [[think=hm]] [[tool=get_weather:{{}}]]")]
    first = asked(client, said, tools=[WEATHER], streamed=streamed)
    second = asked(client, results(first), previous_response_id=first.id, tools=[WEATHER], streamed=streamed)
    third = asked(client, [user("[[say=three]]")], previous_response_id=second.id, instructions="be kind")
    fork = asked(client, [user("[[say=fork]]")], previous_response_id=second.id)
    assert (third.output_text, fork.output_text) == ("three", "fork")
    assert third.previous_response_id == second.id
    exchange = stand_in.recorded(containing=mark)[-2]
    assert [message["role"] for message in exchange.body["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert [block["type"] for block in exchange.body["messages"][1]["content"]] == ["thinking", "tool_use"]
    system = [block["text"] for block in exchange.body["system"]]
    assert system[-2:] == ["be kind", "be brief"]


def test_reject_a_previous_response_that_is_not_there(site: Site, mark: str) -> None:
    first = asked(site.mine, [user(f"{mark} [[say=a]]")])
    own_history = asked(site.mine, [user("a"), {"role": "assistant", "content": "b"}, user("[[say=c]]")])
    for client, response_id in ((site.other, first.id), (site.mine, "resp_unknown"), (site.mine, own_history.id)):
        with pytest.raises(openai.BadRequestError) as caught:
            asked(client, [user("b")], previous_response_id=response_id)
        assert caught.value.param == "previous_response_id"


def test_delete_a_recent_answer(site: Site, mark: str) -> None:
    first = asked(site.mine, [user(f"{mark} [[say=a]]")])
    with pytest.raises(openai.NotFoundError):
        site.other.responses.delete(first.id)
    site.mine.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        site.mine.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError):
        asked(site.mine, [user("a"), *named(first), user("b")])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("effort", [{}, {"reasoning_effort": "medium"}], ids=["default", "requested"])
def test_chat_keeps_thinking_over_a_tool_loop(
    site: Site, stand_in: StandInProcess, mark: str, streamed: bool, effort: Any
) -> None:
    """Two parallel calls, then a second loop in the same turn, then the user's next turn."""
    prompt = f'{mark} [[think=hm]] [[tool=get_weather:{{}}]] [[tool=get_weather:{{"at": 1}}]]'
    messages: list[Any] = [{"role": "user", "content": prompt}]
    ask: Any = {"model": MODEL, "tools": [CHAT_WEATHER], **effort}
    if streamed:
        with site.mine.chat.completions.stream(messages=messages, **ask) as stream:
            answer = stream.get_final_completion().choices[0].message
    else:
        answer = site.mine.chat.completions.create(messages=messages, **ask).choices[0].message
    assert getattr(answer, "reasoning_content", None) == ("hm" if effort else None)
    calls = [
        {"id": it.id, "type": "function", "function": {"name": it.function.name, "arguments": it.function.arguments}}
        for it in answer.tool_calls or ()
    ]
    assert len(calls) == 2
    messages.append({"role": "assistant", "content": answer.content, "tool_calls": calls})
    messages += [{"role": "tool", "tool_call_id": it["id"], "content": "sunny"} for it in calls]
    site.mine.chat.completions.create(messages=messages, **ask)
    thought, *uses = last_sent(stand_in, mark)[1]["content"]
    assert (thought["type"], thought["thinking"], bool(thought["signature"])) == ("thinking", "hm", True)
    assert [block["type"] for block in uses] == ["tool_use", "tool_use"]
    messages += [{"role": "assistant", "content": "It is sunny."}, {"role": "user", "content": "[[say=bye]]"}]
    site.mine.chat.completions.create(messages=messages, **ask)
    assert last_sent(stand_in, mark)[1]["content"][0]["type"] == "thinking"


def test_chat_keeps_nothing_where_the_client_forbids_it(site: Site, stand_in: StandInProcess, mark: str) -> None:
    messages: list[Any] = [{"role": "user", "content": f"{mark} [[think=hm]] [[tool=get_weather:{{}}]]"}]
    ask: Any = {"model": MODEL, "tools": [CHAT_WEATHER], "store": False}
    answer = site.mine.chat.completions.create(messages=messages, **ask).choices[0].message
    messages.append(answer.model_dump(include={"role", "content", "tool_calls"}))
    messages.append({"role": "tool", "tool_call_id": messages[-1]["tool_calls"][0]["id"], "content": "sunny"})
    site.mine.chat.completions.create(messages=messages, **ask)
    assert [block["type"] for block in last_sent(stand_in, mark)[1]["content"]] == ["tool_use"]


def test_stored_answers_reveal_nothing(site: Site, mark: str) -> None:
    """Neither the database nor its log holds the text of prompts or answers."""
    asked(site.mine, [user(f"{mark}-asked [[say={mark}-answered]]")])
    asked(site.mine, [user("[[say=later]]")])
    files = [path for path in site.gateway.state_dir.glob("db.sqlite3*") if path.is_file()]
    assert files
    assert all(mark.encode() not in path.read_bytes() for path in files)


def test_refer_to_answers_after_a_restart(stand_in: StandInProcess, tmp_path: Any, mark: str) -> None:
    for process in (1, 2):
        env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_API_KEY": f"sk-test-{mark}"}
        gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
        try:
            with openai.OpenAI(**options(gateway)) as client:
                if process == 1:
                    first = asked(client, [user(f"{mark} [[say=one]]")])
                else:
                    again = asked(client, [user("a"), *named(first), user("[[say=two]]")])
        finally:
            gateway.stop()
    assert again.output_text == "two"


def test_refer_to_answers_of_another_process(stand_in: StandInProcess, tmp_path: Any, mark: str) -> None:
    """Each request on a connection of its own, so that two processes take them in turn."""
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_PROCESSES": "2"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        items = [user(f"{mark} [[say=0]]")]
        for number in range(1, 21):
            with openai.OpenAI(**options(gateway)) as client:
                items += [*named(asked(client, items)), user(f"[[say={number}]]")]
        with openai.OpenAI(**options(gateway)) as client:
            assert asked(client, items).output_text == "20"
    finally:
        gateway.stop()
    assert len(last_sent(stand_in, mark)) == 41


def test_switch_recent_answers_off(stand_in: StandInProcess, tmp_path: Any, mark: str) -> None:
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_RECENT_ANSWERS_TTL_MINUTES": "0"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        with openai.OpenAI(**options(gateway)) as client:
            first = asked(client, [user(f"{mark} [[say=one]]")])
            for request in (
                {"items": [user("a"), *named(first), user("b")]},
                {"items": [user("b")], "previous_response_id": first.id},
            ):
                with pytest.raises(openai.BadRequestError):
                    asked(client, **request)
    finally:
        gateway.stop()
