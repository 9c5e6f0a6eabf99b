"""Items of server tools that clients send back."""

from typing import Any

import pytest

from apiproxy.dialects.openai.responses.reply import StoredHistory
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer
from tests.dialects.openai.server_tools import CITED, FOUND, LISTING, MCP_CALL, MCP_RESULT, MCP_TOOL, SEARCH, text
from tests.dialects.openai.support import answer, folded, responses
from tests.dialects.openai.test_web_search import with_offer

QUESTION = {"role": "user", "content": "hi"}
GO_ON = {"role": "user", "content": "go on"}
ENCRYPTED = {"include": ["reasoning.encrypted_content"]}
TOOLS: dict[str, Any] = {"tools": [{"type": "web_search"}, MCP_TOOL]}
CALL_ITEM = {
    "type": "mcp_call",
    "id": "mcp_01M",
    "server_label": "calc",
    "name": "add",
    "arguments": '{"a": 1, "b": 2}',
    "output": "3",
    "error": None,
}


def output(*blocks: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    """Output items of an answer with these blocks."""
    items: list[dict[str, Any]] = response_object(folded(answer(*blocks)), responses(body).reply, created=7)["output"]
    return items


def sent_back(items: list[dict[str, Any]], **body: Any) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The assistant's blocks in the next request, and what was left out of it."""
    translated = responses({"input": [QUESTION, *items, GO_ON], **TOOLS, **body})
    messages = translated.body["messages"]
    assert [message["role"] for message in messages[::2]] == ["user"] * len(messages[::2])
    return (messages[1]["content"] if len(messages) > 2 else []), translated.ignored


def test_send_mcp_calls_back_as_they_were() -> None:
    blocks, ignored = sent_back(output(LISTING, MCP_CALL, MCP_RESULT, text("3.")))
    named = {"id": "mcptoolu_01Abc_1"}
    assert blocks == [LISTING, MCP_CALL | named, MCP_RESULT | {"tool_use_id": named["id"]}, text("3.")]
    assert ignored == ()


def test_send_failed_mcp_calls_back() -> None:
    failed = {**MCP_RESULT, "is_error": True}
    blocks, ignored = sent_back(output(MCP_CALL, failed, text("Hm.")))
    named = {"id": "mcptoolu_01Abc_0"}
    assert blocks == [MCP_CALL | named, failed | {"tool_use_id": named["id"]}, text("Hm.")]
    assert ignored == ()


def test_send_searches_back_with_their_results() -> None:
    items = output(SEARCH, FOUND, text("So: "), CITED, **ENCRYPTED)
    assert [item["type"] for item in items] == ["web_search_call", "reasoning", "message"]
    blocks, ignored = sent_back(items)
    assert blocks == [SEARCH, FOUND, text(f"So: {CITED['text']}")]
    assert ignored == ()


def test_report_searches_whose_results_are_unknown() -> None:
    blocks, ignored = sent_back(output(SEARCH, FOUND, CITED))
    assert blocks == CITED["text"]
    assert ignored == ("input.web_search_call (left out: the items hold no results)",)


def test_leave_out_searches_where_none_is_offered() -> None:
    blocks, ignored = sent_back(output(SEARCH, FOUND, CITED, **ENCRYPTED), tools=[])
    assert blocks == CITED["text"]
    assert ignored == ("input.web_search_call (the request has no web search)",)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({**CALL_ITEM, "server_label": "other"}, "input.mcp_call (the request has no such MCP server)"),
        ({**CALL_ITEM, "server_label": ["calc"]}, "input.mcp_call (the request has no such MCP server)"),
        ({**CALL_ITEM, "output": None}, "input.mcp_call (left out: incomplete)"),
        ({**CALL_ITEM, "arguments": "{"}, "input.mcp_call (left out: incomplete)"),
        ({**CALL_ITEM, "arguments": "[1]"}, "input.mcp_call (left out: incomplete)"),
        ({**CALL_ITEM, "name": ""}, "input.mcp_call (left out: incomplete)"),
        ({"type": "mcp_list_tools", "server_label": "other"}, "input.mcp_list_tools (left out: the upstream asks the"),
        ({"type": "mcp_approval_request", "id": "mcpr_1"}, "input.1 (mcp_approval_request)"),
        ({"type": "mcp_approval_response", "approve": True}, "input.1 (mcp_approval_response)"),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, "input.web_search_call (left out: the"),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "search-1.%%%"},
            "input.encrypted_content (not this gateway's)",
        ),
    ],
)
def test_go_on_without_items_that_cannot_be_sent(item: dict[str, Any], said: str) -> None:
    blocks, ignored = sent_back([item])
    assert blocks == []
    assert any(entry.startswith(said) for entry in ignored)


def test_go_on_after_a_search_without_an_action() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    translated = responses({"input": [QUESTION, item, GO_ON]})  # as C071 of the field
    assert [message["role"] for message in translated.body["messages"]] == ["user", "user"]


@pytest.mark.parametrize("item_id", ["", None, 7, "mcp_" + "x" * 500, "mcp_ü", "mcp_01M"])
def test_give_every_call_an_id_of_its_own(item_id: Any) -> None:
    blocks, _ = sent_back([CALL_ITEM, {**CALL_ITEM, "id": item_id}])
    ids = [block["id"] for block in blocks if block["type"] == "mcp_tool_use"]
    assert ids[0] == "mcptoolu_01M"
    assert len(set(ids)) == 2
    assert all(call_id.startswith("mcptoolu_") and call_id.isascii() and len(call_id) < 200 for call_id in ids)
    assert [block["tool_use_id"] for block in blocks if block["type"] == "mcp_tool_result"] == ids


@pytest.mark.parametrize(
    "result", [{"output": "  "}, {"output": None, "error": {"type": "http_error", "code": 500, "message": "down"}}]
)
def test_send_odd_results_in_a_form_the_upstream_takes(result: dict[str, Any]) -> None:
    (_, sent), ignored = sent_back([{**CALL_ITEM, **result}])
    assert sent["content"] in ([], [text("down")])
    assert ignored == ()


def test_ask_servers_again_where_listings_are_unknown() -> None:
    offer = ServerToolOffer(mcp_beta="mcp-client-2025-11-20")
    items = output(LISTING, MCP_CALL, MCP_RESULT)
    translated = with_offer(offer, input=[QUESTION, *items, GO_ON], **TOOLS)
    assert translated.betas == ("mcp-client-2025-11-20",)
    assert [block["type"] for block in translated.body["messages"][1]["content"]] == ["mcp_tool_use", "mcp_tool_result"]


def test_drop_calls_of_tools_that_a_forced_call_excludes() -> None:
    items = output(SEARCH, FOUND, MCP_CALL, MCP_RESULT, text("3."), **ENCRYPTED)
    function = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    body = {"tools": [*TOOLS["tools"], function], "tool_choice": {"type": "function", "name": "f"}}
    translated = responses({"input": [QUESTION, *items, GO_ON], **body}, model="claude-sonnet-5-5")
    assert not translated.body.get("mcp_servers")
    assert "mcp_tool_use" not in str(translated.body["messages"])
    assert translated.betas == ()


def test_continue_a_stored_answer_that_was_paused() -> None:
    pending = {**SEARCH, "id": "srvtoolu_2"}
    stored = StoredHistory(
        response_id="resp_1",
        history=[QUESTION, {"role": "assistant", "content": [SEARCH, FOUND, MCP_CALL, MCP_RESULT, pending]}],
    )
    offered = responses({"input": "go on", "previous_response_id": "resp_0", **TOOLS}, stored=stored)
    assert offered.body["messages"][1]["content"] == [SEARCH, FOUND, MCP_CALL, MCP_RESULT]
    alone = responses({"input": "go on", "previous_response_id": "resp_0"}, stored=stored)
    assert [message["role"] for message in alone.body["messages"]] == ["user", "user"]
    assert "previous_response_id (calls of tools that the request does not offer" in alone.ignored[0]
