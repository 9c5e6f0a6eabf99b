"""Web searches of OpenAI clients: the upstream's tool, and its answers in OpenAI's form."""

from typing import Any

import pytest

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.parse import read_chat, translate_chat
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.messages_body import Reply, Target, Translation
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer
from tests.dialects.openai.server_tools import CITED, FOUND, NOT_FOUND, PAGE, SEARCH, text
from tests.dialects.openai.support import MODEL, Events, answer, chat, folded, function, payloads, responses

TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 6}
SOURCES = {"include": ["web_search_call.action.sources"]}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def with_offer(offer: ServerToolOffer, **body: Any) -> Translation:
    whole = {"model": "gpt-4o", "input": "hi", **body}
    target = Target(model=MODEL, max_output_tokens=1000, server_tools=offer)
    return translate_responses(read_responses(whole), target=target, strict=False)


def streamed(events: Events, **body: Any) -> list[Any]:
    encoder = ResponsesStream(responses(body).reply, created=7)
    return payloads(encoder.encode(events) + encoder.finish())


def plain(events: Events, **body: Any) -> dict[str, Any]:
    return response_object(folded(events), responses(body).reply, created=7)


@pytest.mark.parametrize(
    "kind", ["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"]
)
def test_search_with_the_upstreams_tool(kind: str) -> None:
    translated = responses({"tools": [FUNCTION, {"type": kind, "external_web_access": True}]})
    assert translated.body["tools"][1:] == [TOOL]
    assert translated.ignored == ()
    assert translated.reply.echo["tools"][1]["type"] == kind


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"search_context_size": "low"}, {"max_uses": 3}),
        ({"search_context_size": "high"}, {"max_uses": 9}),
        ({"user_location": {"type": "approximate"}}, {}),
        ({"user_location": None, "filters": None}, {}),
        (
            {"user_location": {"type": "approximate", "city": "Rome", "country": "IT", "region": None}},
            {"user_location": {"type": "approximate", "city": "Rome", "country": "IT"}},
        ),
        (
            {"filters": {"allowed_domains": ["example.org", "https://a.example/"]}},
            {"allowed_domains": ["example.org", "a.example"]},
        ),
        ({"filters": {"blocked_domains": ["b.example"]}}, {"blocked_domains": ["b.example"]}),
    ],
)
def test_translate_search_options(given: dict[str, Any], sent: dict[str, Any]) -> None:
    translated = responses({"tools": [{"type": "web_search", **given}]})
    assert translated.body["tools"] == [{**TOOL, **sent}]
    assert translated.ignored == ()


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([{"type": "web_search", "external_web_access": False}], "tools.0 (web search: not possible without access"),
        ([{"type": "web_search"}, {"type": "web_search_preview"}], "tools.1 (one web search tool is enough)"),
        ([{"type": "web_search", "search_content_types": ["image"]}], "tools.0.search_content_types (text only)"),
        ([{"type": "function", "name": "web_search"}, {"type": "web_search"}], "web_search (a function has the same"),
    ],
)
def test_name_parts_of_a_search_that_are_left_out(tools: list[dict[str, Any]], said: str) -> None:
    (ignored,) = responses({"tools": tools}).ignored
    assert ignored.startswith(said)


def test_limit_searches_by_max_tool_calls() -> None:
    translated = responses({"tools": [{"type": "web_search"}], "max_tool_calls": 2})
    assert translated.body["tools"][0]["max_uses"] == 2
    assert translated.ignored == ()
    assert responses({"tools": [{"type": "web_search"}], "max_tool_calls": 0}).ignored[0].startswith("tools.0")


def test_drop_an_unavailable_search_unless_forced() -> None:
    offer = ServerToolOffer(no_search="not allowed for this API key")
    tools = [FUNCTION, {"type": "web_search"}]
    dropped = with_offer(offer, tools=tools)
    assert [tool["name"] for tool in dropped.body["tools"]] == ["f"]
    assert dropped.ignored == ("tools.1 (web search: not allowed for this API key)",)
    # The allow-lists then reject it by its name.
    forced = with_offer(offer, tools=tools, tool_choice={"type": "web_search_preview"})
    assert forced.body["tools"][1]["type"] == "web_search_20250305"


def test_call_a_later_version_directly() -> None:
    translated = with_offer(ServerToolOffer(search="web_search_20260318"), tools=[{"type": "web_search"}])
    assert translated.body["tools"][0]["allowed_callers"] == ["direct"]


@pytest.mark.parametrize(
    ("model", "choice"), [(MODEL, {"type": "tool", "name": "web_search"}), ("claude-sonnet-5-5", {"type": "auto"})]
)
def test_force_a_search_where_the_model_allows_it(model: str, choice: dict[str, Any]) -> None:
    body = {"tools": [FUNCTION, {"type": "web_search"}], "tool_choice": {"type": "web_search_preview"}}
    translated = responses(body, model=model)
    assert translated.body["tool_choice"] == choice
    assert ("tool_choice" in str(translated.ignored)) is (choice["type"] == "auto")


def test_require_a_call_with_only_a_search() -> None:
    translated = responses({"tools": [{"type": "web_search"}], "tool_choice": "required"})
    assert translated.body["tool_choice"] == {"type": "any"}


def test_reject_forced_search_without_the_tool() -> None:
    with pytest.raises(ProxyError, match="tool_choice: "):
        responses({"tools": [FUNCTION], "tool_choice": {"type": "web_search"}})


def test_limit_allowed_tools_to_those_named() -> None:
    tools = [FUNCTION, {"type": "web_search"}]
    allowed: dict[str, Any] = {"type": "allowed_tools", "mode": "auto"}
    only_function = responses({"tools": tools, "tool_choice": {**allowed, "tools": [FUNCTION]}})
    only_search = responses({"tools": tools, "tool_choice": {**allowed, "tools": [{"type": "web_search_preview"}]}})
    assert [tool["name"] for tool in only_function.body["tools"]] == ["f"]
    assert [tool["name"] for tool in only_search.body["tools"]] == ["web_search"]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, {}),
        ({"search_context_size": "low"}, {"max_uses": 3}),
        (
            {"user_location": {"type": "approximate", "approximate": {"country": "IT"}}},
            {"user_location": {"type": "approximate", "country": "IT"}},
        ),
    ],
)
def test_search_with_web_search_options_of_chat(options: dict[str, Any], sent: dict[str, Any]) -> None:
    translated = chat({"web_search_options": options, "tools": [function("f")]}, model="claude-sonnet-5-5")
    assert translated.body["tools"][1] == {**TOOL, **sent}
    assert translated.ignored == ()


def test_name_unavailable_web_search_options() -> None:
    target = Target(model=MODEL, max_output_tokens=9, server_tools=ServerToolOffer(no_search="not on this platform"))
    request = read_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], "web_search_options": {}})
    translated = translate_chat(request, target=target, strict=False)
    assert translated.ignored == ("web_search_options (web search: not on this platform)",)
    assert "tools" not in translated.body


def test_search_with_a_responses_tool_in_chat() -> None:
    translated = chat({"tools": [{"type": "web_search"}]})
    assert translated.body["tools"] == [TOOL]


def test_emit_search_events_in_documented_order() -> None:
    events = streamed(answer(text("I look."), SEARCH, FOUND, text("So: "), CITED, pieces=2), **SOURCES)
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed",
        "output_item.done",
        "output_item.added", "content_part.added", *["output_text.delta"] * 4, "output_text.annotation.added",
        "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    call = next(event["item"] for event in events if event.get("item", {}).get("status") == "completed" and
                event["item"]["type"] == "web_search_call")  # fmt: skip
    assert call == {
        "id": "ws_01Abc_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {
            "type": "search",
            "query": "claude shannon birth date",
            "queries": ["claude shannon birth date"],
            "sources": [{"type": "url", "url": PAGE["url"]}],
        },
    }


def test_join_cited_texts_into_one_message() -> None:
    response = plain(answer(SEARCH, FOUND, text("Sö: "), CITED, text(". "), CITED))
    message = response["output"][-1]
    assert [item["type"] for item in response["output"]] == ["web_search_call", "message"]
    (part,) = message["content"]
    assert part["text"] == f"Sö: {CITED['text']}. {CITED['text']}"
    for annotation in part["annotations"]:
        assert part["text"][annotation["start_index"] : annotation["end_index"]] == CITED["text"]
        assert (annotation["url"], annotation["title"]) == (PAGE["url"], PAGE["title"])
    assert len(part["annotations"]) == 2


@pytest.mark.parametrize(("blocks", "status"), [((SEARCH, NOT_FOUND), "failed"), ((SEARCH,), "incomplete")])
def test_tell_searches_without_results_apart(blocks: tuple[dict[str, Any], ...], status: str) -> None:
    events = answer(*blocks, stop_reason="pause_turn")
    assert plain(events)["output"][0]["status"] == status
    assert streamed(events)[-1]["response"]["output"][0]["status"] == status
    assert "web_search_call.completed" not in str(streamed(events))


def test_present_a_paused_answer_as_incomplete() -> None:
    events = answer(text("So far"), stop_reason="pause_turn")
    assert plain(events)["incomplete_details"] == {"reason": "max_output_tokens"}
    assert completion(folded(events), Reply(), created=7)["choices"][0]["finish_reason"] == "length"


def test_annotate_chat_answers_streamed_and_not() -> None:
    events = answer(SEARCH, FOUND, text("So: "), CITED)
    message = completion(folded(events), Reply(), created=7)["choices"][0]["message"]
    (annotation,) = message["annotations"]
    assert annotation["type"] == "url_citation"
    cited = annotation["url_citation"]
    assert message["content"][cited["start_index"] : cited["end_index"]] == CITED["text"]
    encoder = ChatStream(Reply(), created=7)
    deltas = [chunk["choices"][0]["delta"] for chunk in payloads(encoder.encode(events) + encoder.finish())]
    assert [delta["annotations"] for delta in deltas if "annotations" in delta] == [[annotation]]


def test_answer_without_annotations_for_documents() -> None:
    location = {"type": "char_location", "cited_text": "é", "document_index": 0, "document_title": None}
    cited = {**text("hi"), "citations": [{**location, "start_char_index": 0, "end_char_index": 1}]}
    assert plain(answer(cited))["output"][0]["content"][0]["annotations"] == []
    assert "annotations" not in completion(folded(answer(cited)), Reply(), created=7)["choices"][0]["message"]
