"""Compaction: a summary by the model, returned as an item that later requests take."""

import secrets
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.responses.compaction import (
    CompactionStream,
    compacted_answer,
    compacted_response,
    read_compact,
    retained_items,
)
from apiproxy.dialects.openai.responses.parse import read_responses
from apiproxy.dialects.openai.responses.summary import INSTRUCTION, decode_summary, encode_summary
from tests.dialects.openai.conftest import options
from tests.dialects.openai.support import PNG, answer, folded, payloads, responses
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

MODEL = "claude-haiku-4-5"
TRIGGER = {"type": "compaction_trigger"}
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
HISTORY: list[Any] = [
    {"role": "user", "content": "rain in Rome?"},
    {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Rome"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    {"role": "assistant", "content": "No, it is sunny."},
    {
        "role": "user",
        "content": [{"type": "input_text", "text": "like this?"}, {"type": "input_image", "image_url": PNG}],
    },
]
SUMMARY = "The user asked about Rome; it is sunny."


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def test_ask_for_a_summary_after_the_conversation() -> None:
    translation = responses({"input": [*HISTORY, TRIGGER], "tools": [WEATHER], "store": True})
    assert text_of(translation.body["messages"][-1]) == INSTRUCTION
    assert translation.body["tool_choice"] == {"type": "none"}
    assert [tool["name"] for tool in translation.body["tools"]] == ["get_weather"]
    assert (translation.reply.compacts, translation.reply.echo["store"]) == (True, False)


def test_ask_for_text_even_beside_a_format() -> None:
    text = {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}
    body = responses({"input": [*HISTORY, TRIGGER], "text": text, "tools": [WEATHER], "tool_choice": "required"}).body
    assert "output_config" not in body
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("items", "param"),
    [([TRIGGER, *HISTORY], "input.0.type"), ([*HISTORY, TRIGGER, TRIGGER], "input.5.type"), ([TRIGGER], "input")],
)
def test_refuse_a_trigger_in_another_place(items: Any, param: str) -> None:
    with pytest.raises(ProxyError) as failed:
        responses({"input": items})
    assert failed.value.param == param


@pytest.mark.parametrize("kind", ["compaction", "compaction_summary"])
def test_take_a_summary_back(kind: str) -> None:
    item = {"type": kind, "id": "cmp_1", "encrypted_content": encode_summary(SUMMARY)}
    body = responses({"input": [{"role": "user", "content": "a"}, item, {"role": "user", "content": "go on"}]}).body
    assert [text_of(message).splitlines()[-1] for message in body["messages"]] == ["a", SUMMARY, "go on"]


@pytest.mark.parametrize("content", [None, "", "gAAAAABk", "compaction-1.!", "compaction-1.", "compaction-1._w=="])
def test_leave_out_a_summary_of_another_service(content: Any) -> None:
    item = {"type": "compaction", "encrypted_content": content}
    translation = responses({"input": [item, {"role": "user", "content": "go on"}]})
    assert translation.body["messages"] == [{"role": "user", "content": "go on"}]
    assert translation.ignored == ("input.encrypted_content (not this gateway's)",)


@pytest.mark.parametrize("text", ["a\n\nb", "é😀", "\ud800"])
def test_encode_any_summary(text: str) -> None:
    block = decode_summary(encode_summary(text))
    assert block is not None
    assert block["text"].endswith(text)


@pytest.mark.parametrize("streamed", [False, True])
def test_answer_a_trigger_with_exactly_one_item(streamed: bool) -> None:
    reply = responses({"input": [*HISTORY, TRIGGER]}).reply
    events = answer({"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": SUMMARY})
    if streamed:
        encoder = CompactionStream(reply, created=7)
        sent = payloads(encoder.encode(events) + encoder.finish())
        assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
        assert [event["type"] for event in sent] == [
            "response.created", "response.in_progress", "response.output_item.added",
            "response.compaction.compacting", "response.output_item.done", "response.completed",
        ]  # fmt: skip
        whole = sent[-1]["response"]
        assert sent[-2]["item"] == whole["output"][0]
        assert whole == compacted_answer(folded(events), reply, created=7)
    else:
        whole = compacted_answer(folded(events), reply, created=7)
    assert whole["status"] == "completed"
    (item,) = whole["output"]
    assert item.keys() == {"id", "type", "encrypted_content"}
    assert decode_summary(item["encrypted_content"]) is not None


@pytest.mark.parametrize(
    ("text", "stop_reason"), [(SUMMARY, "max_tokens"), ("", "end_turn"), (SUMMARY, "refusal"), (" ", "end_turn")]
)
def test_fail_rather_than_lose_a_part(text: str, stop_reason: str) -> None:
    reply = responses({"input": [*HISTORY, TRIGGER]}).reply
    events = answer({"type": "text", "text": text}, stop_reason=stop_reason)
    with pytest.raises(ProxyError, match="no complete summary"):
        compacted_answer(folded(events), reply, created=7)
    with pytest.raises(ProxyError, match="no complete summary"):
        compacted_response(folded(events), [], created=7)
    encoder = CompactionStream(reply, created=7)
    sent = payloads(encoder.encode(events) + encoder.finish())
    assert [event["type"] for event in sent[-2:]] == ["response.failed", "error"]
    assert "response.output_item.done" not in [event["type"] for event in sent]


def test_keep_the_messages_of_the_user_but_no_summary() -> None:
    earlier = {"type": "compaction", "encrypted_content": encode_summary("old")}
    request = read_compact({"model": "m", "input": [earlier, *HISTORY], "instructions": "Be brief."})
    body = responses({"input": request.input}).body
    kept = retained_items(body["messages"], "req_1")
    assert [[part["type"] for part in item["content"]] for item in kept] == [
        ["input_text"], ["input_text", "input_image"],
    ]  # fmt: skip
    assert kept[1]["content"][1]["image_url"] == PNG
    assert responses({"input": kept}).body["messages"][0]["content"] == "rain in Rome?"


@pytest.mark.parametrize(
    ("given", "param"), [(None, "input"), (7, "input"), ([], "input"), ([{"type": "x"}], "input.0.type")]
)
def test_name_the_field_that_is_wrong(given: Any, param: str) -> None:
    with pytest.raises(ProxyError) as failed:
        responses({"input": read_compact({"model": "m", "input": given}).input})
    assert failed.value.param == param
    with pytest.raises(ProxyError):
        read_compact([])


def test_read_no_trigger_as_a_plain_request() -> None:
    assert read_responses({"model": "m", "input": HISTORY, "tools": [WEATHER]}).tool_choice is None


@pytest.fixture(scope="module")
def keeping(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """The client of a key whose messages are kept."""
    env = {"CLAUDE_PROXY_STORE_SESSIONS": "1"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("keeping"), upstream=stand_in.base_url, env=env).start()
    (secret,) = make_keys(gateway, {"keeper": {"store_bodies": True}}).values()
    with openai.OpenAI(**options(gateway) | {"api_key": secret}) as client:
        yield client
    gateway.stop()


def test_compact_and_go_on(client: openai.OpenAI, stand_in: StandInProcess) -> None:
    mark = secrets.token_hex(8)
    compacted = client.responses.compact(model=MODEL, instructions=f"{mark} Be brief.", input=HISTORY)
    assert compacted.object == "response.compaction"
    assert compacted.usage.input_tokens > 0
    output: list[Any] = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
    assert [item["type"] for item in output] == ["message", "message", "compaction"]
    asked: Any = [*output, {"role": "user", "content": f"{mark} and now? [[say=now]]"}]
    assert client.responses.create(model=MODEL, input=asked).output_text == "now"
    summarized, went_on = [exchange.body for exchange in stand_in.recorded(containing=mark)]
    assert text_of(summarized["messages"][-1]) == INSTRUCTION
    summary = decode_summary(output[-1]["encrypted_content"])
    assert summary is not None
    assert went_on["messages"][2]["content"] == summary["text"]
    assert "sunny" not in str(went_on["messages"])


def test_compact_a_stored_response(keeping: openai.OpenAI) -> None:
    first = keeping.responses.create(model=MODEL, input="remember me [[say=noted]]")
    compacted = keeping.responses.compact(model=MODEL, previous_response_id=first.id)
    kept: Any = compacted.output[0]
    assert kept.content[0].text == "remember me [[say=noted]]"
    assert compacted.output[-1].type == "compaction"


def test_stream_a_compaction_as_codex_does(client: openai.OpenAI) -> None:
    asked: Any = [*HISTORY, TRIGGER]
    with client.responses.create(model=MODEL, input=asked, tools=[WEATHER], store=False, stream=True) as stream:
        events: list[Any] = list(stream)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.type for item in done] == ["compaction"]
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens > 0


def test_charge_a_compaction_like_any_run(gateway: GatewayProcess) -> None:
    (secret,) = make_keys(gateway, {"compacts": {"requests_per_minute": 1}}).values()
    with openai.OpenAI(**options(gateway) | {"api_key": secret}) as client:
        client.responses.compact(model=MODEL, input=HISTORY)

        def output_tokens() -> int:
            usage: Any = client.get("/usage", cast_to=object)
            return int(usage["totals"]["output_tokens"])

        assert eventually(output_tokens) > 0
        with pytest.raises(openai.RateLimitError):
            client.responses.compact(model=MODEL, input=HISTORY)
