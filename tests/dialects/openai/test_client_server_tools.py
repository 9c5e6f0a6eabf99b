"""Web searches and MCP servers with the official client, through both engines."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from apiproxy.core.turns import ENGINES
from tests.dialects.openai.server_tools import (
    CITED,
    FOUND,
    LISTING,
    MCP_CALL,
    MCP_RESULT,
    MCP_SERVER,
    MCP_TOOL,
    PAGE,
    SEARCH,
    text,
)
from tests.limits.gateways import Site, make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

MODEL = "claude-haiku-4-5"
TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 6}
KEYS: dict[str, dict[str, Any]] = {
    "free": {},
    "narrow": {"allowed_server_tools": ["none"], "allowed_mcp_hosts": ["*.good.example"]},
    "no betas": {"allowed_betas": ["none"]},
    "paying": {"budget_day_usd": "100"},
}


@pytest.fixture(scope="module", params=ENGINES)
def site(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_ENGINE": request.param, "CLAUDE_PROXY_MAX_CONCURRENT": "2"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("server-tools"), upstream=stand_in.base_url, env=env).start()
    yield Site([gateway], make_keys(gateway, KEYS))
    gateway.stop()


@pytest.fixture
def clients(site: Site) -> Iterator[dict[str, openai.OpenAI]]:
    made = {
        name: openai.OpenAI(base_url=f"{site.first.base_url}/v1", api_key=key, max_retries=0, timeout=60)
        for name, key in site.secrets.items()
    }
    yield made
    for client in made.values():
        client.close()


@pytest.fixture
def mark() -> str:
    """A text that finds this test's exchanges at the stand-in."""
    return f"mark-{secrets.token_hex(8)}"


def prompt(mark: str, *blocks: dict[str, Any], more: str = "") -> str:
    """A prompt whose answer has these blocks."""
    return mark + "".join(f"[[block={json.dumps(block)}]]" for block in blocks) + more


def test_search_the_web_and_go_on(clients: dict[str, openai.OpenAI], stand_in: StandInProcess, mark: str) -> None:
    asked: Any = {
        "model": MODEL,
        "tools": [{"type": "web_search", "external_web_access": True}],
        "include": ["reasoning.encrypted_content", "web_search_call.action.sources"],
        "store": False,
    }
    items: list[Any] = [{"role": "user", "content": prompt(mark, SEARCH, FOUND, text("So: "), CITED)}]
    with clients["free"].responses.stream(input=items, **asked) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert "response.web_search_call.searching" in kinds
    call, sealed, message = response.output
    assert call.type == "web_search_call"
    assert call.action.type == "search"
    assert call.action.query == SEARCH["input"]["query"]
    assert call.action.sources is not None
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    (annotation,) = part.annotations
    assert annotation.type == "url_citation"
    assert part.text[annotation.start_index : annotation.end_index] == CITED["text"]
    items += [call, sealed, message, {"role": "user", "content": "go on"}]
    clients["free"].responses.create(input=items, **asked)
    first, second = stand_in.recorded(containing=mark)
    assert first.body["tools"] == second.body["tools"] == [TOOL]
    assert second.body["messages"][1]["content"] == [SEARCH, FOUND, text(f"So: {CITED['text']}")]


def test_get_the_same_answer_whole(clients: dict[str, openai.OpenAI], mark: str) -> None:
    asked: Any = {"model": MODEL, "tools": [{"type": "web_search_preview"}, MCP_TOOL]}
    asked["input"] = prompt(mark, LISTING, SEARCH, FOUND, text("So: "), CITED, MCP_CALL, MCP_RESULT, text("3."))
    whole = clients["free"].responses.create(**asked)
    with clients["free"].responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    expected = ["mcp_list_tools", "web_search_call", "message", "mcp_call", "message"]
    assert [item.type for item in whole.output] == [item.type for item in streamed.output] == expected
    assert [_content(item) for item in whole.output] == [_content(item) for item in streamed.output]
    assert whole.output_text == streamed.output_text == f"So: {CITED['text']}3."


def test_call_an_mcp_server(clients: dict[str, openai.OpenAI], stand_in: StandInProcess, mark: str) -> None:
    asked: Any = {"model": MODEL, "tools": [{**MCP_TOOL, "authorization": "secret"}]}
    items: list[Any] = [{"role": "user", "content": prompt(mark, LISTING, MCP_CALL, MCP_RESULT, text("3."))}]
    response = clients["free"].responses.create(input=items, **asked)
    assert "secret" not in response.to_json()
    listing, call, message = response.output
    assert call.type == "mcp_call"
    assert (call.server_label, call.name, call.output, call.error) == ("calc", "add", "3", None)
    assert json.loads(call.arguments) == MCP_CALL["input"]
    items += [listing, call, message, {"role": "user", "content": "go on"}]
    clients["free"].responses.create(input=items, **asked)
    first, second = stand_in.recorded(containing=mark)
    assert first.body["mcp_servers"] == [{**MCP_SERVER, "authorization_token": "secret"}]
    assert first.body["tools"] == [{"type": "mcp_toolset", "mcp_server_name": "calc"}]
    assert first.headers["anthropic-beta"] == "mcp-client-2026-09-15"
    sent = second.body["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["mcp_tool_listing", "mcp_tool_use", "mcp_tool_result", "text"]
    assert sent[0] == LISTING
    assert (sent[1]["input"], sent[2]["content"]) == (MCP_CALL["input"], MCP_RESULT["content"])


def test_search_with_chat_completions(clients: dict[str, openai.OpenAI], mark: str) -> None:
    content = prompt(mark, SEARCH, FOUND, text("So: "), CITED)
    asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": content}], "web_search_options": {}}
    message = clients["free"].chat.completions.create(**asked).choices[0].message
    assert message.annotations is not None
    cited = message.annotations[0].url_citation
    assert message.content is not None
    assert message.content[cited.start_index : cited.end_index] == CITED["text"]
    assert cited.url == PAGE["url"]
    with clients["free"].chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.content == message.content
    assert streamed.to_dict()["annotations"] == [message.annotations[0].to_dict()]


def test_leave_the_search_out_for_keys_without_it(
    clients: dict[str, openai.OpenAI], stand_in: StandInProcess, mark: str
) -> None:
    tools: list[Any] = [{"type": "web_search"}]
    raw = clients["narrow"].responses.with_raw_response.create(model=MODEL, input=f"{mark} [[say=hi]]", tools=tools)
    assert raw.headers["x-proxy-ignored"] == "tools.0 (web search: not allowed for this API key)"
    assert "tools" not in stand_in.only(mark).body or stand_in.only(mark).body["tools"] == []
    with pytest.raises(openai.PermissionDeniedError, match="web_search_20250305"):
        clients["narrow"].responses.create(
            model=MODEL, input="hi", tools=tools, tool_choice={"type": "web_search_preview"}
        )


def test_reject_mcp_hosts_that_the_key_may_not_use(
    clients: dict[str, openai.OpenAI], stand_in: StandInProcess, mark: str
) -> None:
    asked: Any = {"model": MODEL, "input": f"{mark} [[say=hi]]"}
    with pytest.raises(openai.PermissionDeniedError, match=r"mcp\.example\.org") as refused:
        clients["narrow"].responses.create(tools=[{"type": "web_search"}, MCP_TOOL], **asked)
    assert refused.value.param == "tools.1.server_url"
    with pytest.raises(openai.PermissionDeniedError, match="mcp-client-2026-09-15"):
        clients["no betas"].responses.create(tools=[MCP_TOOL], **asked)
    assert stand_in.recorded(containing=mark) == []
    good: Any = {**MCP_TOOL, "server_url": "https://a.good.example/mcp"}
    clients["narrow"].responses.create(tools=[good], **asked)
    assert len(stand_in.recorded(containing=mark)) == 1


def test_charge_searches_to_the_budget(clients: dict[str, openai.OpenAI], site: Site, mark: str) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 7}}
    content = prompt(mark, SEARCH, FOUND, more=f"[[usage={json.dumps(usage)}]]")
    before = spent(clients["paying"])
    clients["paying"].responses.create(model=MODEL, input=content, tools=[{"type": "web_search"}])
    eventually(
        lambda: spent(clients["paying"]) - before == pytest.approx(0.07, abs=1e-4), why="seven searches at $0.01"
    )


def spent(client: openai.OpenAI) -> float:
    """USD that the key has spent."""
    usage: Any = client.get("/usage", cast_to=object)
    return float(usage["totals"]["cost_usd"])


def _content(item: Any) -> Any:
    """The item without its id, and without what the client adds to a streamed one."""
    found = {name: value for name, value in item.to_dict().items() if name != "id"}
    for part in found.get("content", ()):
        part.pop("parsed", None)
    return found
