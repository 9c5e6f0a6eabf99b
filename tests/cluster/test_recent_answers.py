"""Recent answers of one node on another, on one PostgreSQL database."""

import uuid
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-sonnet-5-5"
CHAT_TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.fixture
def nodes(stand_in: StandInProcess, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """The client of one key at each of two nodes."""
    secret = f"sk-test-{uuid.uuid4().hex}"
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_API_KEY": secret, "DATABASE_URL": postgres_url}
    folders = [tmp_path_factory.mktemp(name) for name in ("a", "b")]
    gateways = [GatewayProcess(folder, upstream=stand_in.base_url, env=env) for folder in folders]
    made: list[openai.OpenAI] = []
    try:
        for gateway in gateways:
            gateway.start()
            made.append(openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=secret, max_retries=0, timeout=60))
        yield made
    finally:
        for client in made:
            client.close()
        for gateway in gateways:
            gateway.stop()


def test_refer_to_answers_of_another_node(nodes: list[openai.OpenAI], stand_in: StandInProcess) -> None:
    mark = uuid.uuid4().hex
    items: list[Any] = [{"role": "user", "content": f"{mark} [[say=0]]"}]
    for number in range(1, 11):
        answer = nodes[number % 2].responses.create(model=MODEL, input=items)
        items += [{"type": "item_reference", "id": item.id} for item in answer.output]
        items.append({"role": "user", "content": f"[[say={number}]]"})
    assert nodes[0].responses.create(model=MODEL, input=items).output_text == "10"
    assert len(stand_in.recorded(containing=mark)[-1].body["messages"]) == 21


def test_keep_thinking_of_a_tool_loop_over_nodes(nodes: list[openai.OpenAI], stand_in: StandInProcess) -> None:
    mark = uuid.uuid4().hex
    messages: list[Any] = [{"role": "user", "content": f"{mark} [[think=hm]] [[tool=f:{{}}]]"}]
    answer = nodes[0].chat.completions.create(model=MODEL, messages=messages, tools=[CHAT_TOOL]).choices[0].message
    call = answer.model_dump(include={"role", "content", "tool_calls"})
    messages += [call, {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "1"}]
    nodes[1].chat.completions.create(model=MODEL, messages=messages, tools=[CHAT_TOOL])
    sent = stand_in.recorded(containing=mark)[-1].body["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["thinking", "tool_use"]
