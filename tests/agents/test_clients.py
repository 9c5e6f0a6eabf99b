"""Agents for the official clients of both APIs: a whole gateway, the bundled CLI and a real MCP server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from tests.limits.gateways import make_keys, manage
from tests.support.gateway import GatewayProcess
from tests.support.mcp_server import mcp_server
from tests.support.stand_in import StandInProcess
from tests.support.threaded import threaded

pytestmark = pytest.mark.long

PROMPT = (
    '[[say=I look]][[tool=mcp__lab__lookup:{"n":21}]][[tool=mcp__lab__pic:{}]][[tool=mcp__lab__bad:{}]]'
    '[[then]][[tool=mcp__lab__lookup:{"n":4}]][[then]][[say=done]]'
)
AGENTS = """
mcp_servers:
  - {{name: lab, transport: http, url: "{url}", required: true}}
agents:
  - slug: bot
    display_name: Bot
    model: claude-haiku-4-5-20251001
    system: You are a bot.
    mcp_servers: [lab]
    budget_usd: 0.5
    enabled: true
"""


@dataclass(frozen=True)
class Site:
    """A gateway with the agent `bot`, and a key's secret."""

    gateway: GatewayProcess
    secrets: Mapping[str, str]

    @property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.gateway.base_url, api_key=self.secrets["bots"], max_retries=0)

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.gateway.base_url}/v1", api_key=self.secrets["bots"], max_retries=0)


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("agents")
    with threaded(mcp_server()) as server:
        environment = {"CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
        gateway = GatewayProcess(folder, upstream=stand_in.base_url, env=environment)
        gateway.put_database()
        (folder / "agents.yaml").write_text(AGENTS.format(url=server.url))
        manage(gateway, "agents", "import", str(folder / "agents.yaml"))
        secrets = make_keys(gateway, {"bots": {"allowed_models": ["bot"], "budget_day_usd": "1.00"}})
        gateway.start()
        try:
            yield Site(gateway, secrets)
        finally:
            gateway.stop()


def is_header_of_whole_run(value: str) -> bool:
    agent, calls, cost = value.split("; ")
    return (agent, calls) == ("bot@1", "calls=3") and 0 < float(cost.removeprefix("cost=")) < 0.5


def test_answer_messages_client(site: Site) -> None:
    raw: Any
    with site.anthropic as client:
        raw = client.beta.messages.with_raw_response.create(
            model="bot", max_tokens=500, messages=[{"role": "user", "content": PROMPT}]
        )
    message: Any = raw.parse()

    kinds = [block.type for block in message.content]
    assert kinds == ["text", *["mcp_tool_use"] * 3, *["mcp_tool_result"] * 3, "mcp_tool_use", "mcp_tool_result", "text"]
    assert message.model == "bot"
    assert is_header_of_whole_run(raw.headers["x-proxy-agent"])


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # its types know no image in a result
def test_stream_to_messages_client(site: Site) -> None:
    with (
        site.anthropic as client,
        client.beta.messages.stream(
            model="bot@1", max_tokens=500, messages=[{"role": "user", "content": PROMPT}]
        ) as stream,
    ):
        assert stream.response.headers["x-proxy-agent"] == "bot@1"
        message: Any = stream.get_final_message()

    assert next(block.input for block in message.content if block.type == "mcp_tool_use") == {"n": 21}
    assert message.usage.iterations is not None
    assert len(message.usage.iterations) == 3
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize("stream", [False, True])
def test_answer_chat_client(site: Site, stream: bool) -> None:
    asked: Any = {
        "model": "bot",
        "messages": [{"role": "user", "content": PROMPT}],
        "extra_body": {"include_reasoning": True},
    }
    with site.openai as client:
        chat: Any = client.chat.completions
        if stream:
            chunks = list(chat.create(stream=True, **asked))
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            told = "".join(
                getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices
            )
        else:
            message: Any = chat.create(**asked).choices[0].message
            text, told = message.content, message.reasoning_content

    assert text == "I look\n\ndone"
    assert "[call] lab/lookup" in told
    assert "[error] lab/bad" in told


@pytest.mark.parametrize("stream", [False, True])
def test_answer_responses_client(site: Site, stream: bool) -> None:
    response: Any
    with site.openai as client:
        if stream:
            with client.responses.stream(model="bot", input=PROMPT) as events:
                seen = [event.type for event in events]
                response = events.get_final_response()
            assert seen.count("response.mcp_call.in_progress") == 4
            assert seen.count("response.mcp_call.failed") == 1
        else:
            response = client.responses.create(model="bot", input=PROMPT)

        assert [item.type for item in response.output] == [
            *("mcp_list_tools", "message", "mcp_call", "mcp_call", "mcp_call", "mcp_call", "message")
        ]
        listed = response.output[0]
        assert listed.server_label == "lab"
        assert "lookup" in [tool.name for tool in listed.tools]
        more = {"role": "user", "content": "[[say=more]]"}
        history: Any = [{"role": "user", "content": PROMPT}, *(item.to_dict() for item in response.output), more]
        again = client.responses.create(model="bot", input=history)
    assert again.output_text == "more"


def test_reject_tools_of_client(site: Site) -> None:
    with site.anthropic as client, pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(
            model="bot",
            max_tokens=100,
            messages=[{"role": "user", "content": "hi"}],
            tools=[{"name": "f", "input_schema": {"type": "object"}}],
        )

    assert "client tools are not available for agents yet" in str(refused.value)


def test_count_tokens_of_agent(site: Site) -> None:
    with site.anthropic as client:
        counted = client.messages.with_raw_response.count_tokens(
            model="bot", messages=[{"role": "user", "content": "hi"}]
        )

    assert counted.parse().input_tokens > 3
    assert counted.headers["x-proxy-token-count"] == "estimate"
