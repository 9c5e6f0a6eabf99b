"""The official client over a real port gets what the real API would give it."""

import asyncio
import base64
import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, RawMessageStreamEvent, ToolUseBlock

from apiproxy.standin.blocks import SIGNATURE
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-sonnet-5-5"
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()


@pytest.fixture
def client(gateway: GatewayProcess) -> anthropic.Anthropic:
    return gateway.client()


def ask(client: anthropic.Anthropic, prompt: str, **fields: Any) -> Message:
    given: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    }
    message = client.messages.create(**given)
    assert isinstance(message, Message)
    return message


def stream_events(client: anthropic.Anthropic, prompt: str, **fields: Any) -> list[RawMessageStreamEvent]:
    messages: Any = [{"role": "user", "content": prompt}]
    with client.messages.create(model=MODEL, max_tokens=100, messages=messages, stream=True, **fields) as stream:
        return list(stream)


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


class TestCreate:
    def test_return_whole_message(self, client: anthropic.Anthropic) -> None:
        message = ask(client, "[[say=Good day to you]] [[in=12]] [[out=5]] [[read=3]] [[write=4]]")

        assert message.id.startswith("msg_")
        assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
        assert text_of(message) == "Good day to you"
        assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
        assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 5)
        assert (message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (3, 4)
        assert message._request_id is not None
        assert message._request_id.startswith("req_")

    def test_return_long_answer_exactly(self, client: anthropic.Anthropic) -> None:
        assert text_of(ask(client, "[[n=3000]]")) == "".join(f"tok{number} " for number in range(3000))

    @pytest.mark.parametrize("stop", ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"])
    def test_stop_reasons_are_the_upstreams(
        self, client: anthropic.Anthropic, stand_in: StandInProcess, stop: str
    ) -> None:
        sent = mark()

        message = ask(client, f"{sent} [[n=2]] [[stop={stop}]]")

        assert message.stop_reason == stop
        assert text_of(message) == "tok0 tok1 "
        stand_in.only(sent)

    def test_name_stop_sequence(self, client: anthropic.Anthropic) -> None:
        message = ask(client, "[[say=one two STOP three]]", stop_sequences=["STOP"])

        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "STOP")
        assert text_of(message) == "one two "

    @pytest.mark.parametrize("alias", ["sonnet", "opus", "haiku"])
    def test_resolve_alias_to_full_id_upstream(
        self, client: anthropic.Anthropic, stand_in: StandInProcess, alias: str
    ) -> None:
        sent = mark()

        ask(client, f"{sent} [[n=1]]", model=alias)

        assert stand_in.only(sent).body["model"].startswith(f"claude-{alias}-")

    def test_leave_unknown_model_to_upstream(self, client: anthropic.Anthropic, stand_in: StandInProcess) -> None:
        sent = mark()

        ask(client, f"{sent} [[n=1]]", model="model-of-tomorrow")

        assert stand_in.only(sent).body["model"] == "model-of-tomorrow"

    def test_answers_do_not_get_mixed_up(self, gateway: GatewayProcess) -> None:
        async def all_at_once() -> list[str]:
            async with anthropic.AsyncAnthropic(
                api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0
            ) as client:
                messages = await asyncio.gather(
                    *(
                        client.messages.create(
                            model=MODEL,
                            max_tokens=100,
                            messages=[{"role": "user", "content": f"[[say=answer {number}]] [[gap=0.02]]"}],
                        )
                        for number in range(12)
                    )
                )
                return [text_of(message) for message in messages]

        assert asyncio.run(all_at_once()) == [f"answer {number}" for number in range(12)]


class TestStream:
    def test_give_stream_helper_texts_and_final_message(self, client: anthropic.Anthropic) -> None:
        with client.messages.stream(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "[[n=5]] [[out=77]]"}]
        ) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()

        assert pieces == [f"tok{number} " for number in range(5)]
        assert text_of(final) == "".join(pieces)
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 77)
        assert stream.request_id is not None
        assert stream.request_id.startswith("req_")

    def test_send_events_in_documented_order(self, client: anthropic.Anthropic) -> None:
        events = stream_events(client, '[[think=hm]] [[tool=get_weather:{"city": "Rome"}]] [[n=1]]')

        kinds = [event.type for event in events]
        assert kinds[0] == "message_start"
        assert kinds[-2:] == ["message_delta", "message_stop"]
        started = [event.index for event in events if event.type == "content_block_start"]
        stopped = [event.index for event in events if event.type == "content_block_stop"]
        assert started == stopped == [0, 1, 2]

    def test_stream_same_message_as_whole_answer(self, client: anthropic.Anthropic) -> None:
        prompt = '[[think=hm]] [[say=hello]] [[cite=the source]] [[tool=get_weather:{"city": "Rome"}]] [[out=3]]'
        whole = ask(client, prompt)
        with client.messages.stream(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": prompt}]
        ) as stream:
            streamed = stream.get_final_message()

        differing = {"id": True, "content": {2: {"id"}}}
        ours = whole.model_dump(exclude=differing, exclude_none=True)  # type: ignore[arg-type]  # nested by index
        theirs = streamed.model_dump(exclude=differing, exclude_none=True)  # type: ignore[arg-type]  # the same
        theirs["content"][0].pop("parsed_output", None)
        assert json.loads(json.dumps(ours)) == json.loads(json.dumps(theirs))

    async def test_stream_with_async_client(self, gateway: GatewayProcess) -> None:
        async with (
            anthropic.AsyncAnthropic(api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0) as client,
            client.messages.stream(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "[[n=3]]"}]
            ) as stream,
        ):
            pieces = [piece async for piece in stream.text_stream]
            final = await stream.get_final_message()

        assert pieces == ["tok0 ", "tok1 ", "tok2 "]
        assert text_of(final) == "tok0 tok1 tok2 "

    @pytest.mark.parametrize("size", [1, 7])
    def test_pieces_of_the_upstreams_bytes_do_not_matter(self, client: anthropic.Anthropic, size: int) -> None:
        events = stream_events(client, f"[[say=ä € 😀 шалом]] [[split={size}]]")

        deltas = [event.delta for event in events if event.type == "content_block_delta"]
        assert "".join(delta.text for delta in deltas if delta.type == "text_delta") == "ä € 😀 шалом"


class TestBlocks:
    def test_complete_tool_loop_with_parallel_calls(
        self, client: anthropic.Anthropic, stand_in: StandInProcess
    ) -> None:
        cities = ["Rome", "Zürich"]
        asked = " ".join("[[tool=get_weather:" + json.dumps({"city": city}) + "]]" for city in cities)
        messages: list[Any] = [{"role": "user", "content": f"[[think=which]] {asked}"}]
        first = ask(client, "", messages=messages, tools=[WEATHER])
        calls = [block for block in first.content if isinstance(block, ToolUseBlock)]
        assert first.stop_reason == "tool_use"
        assert [call.input for call in calls] == [{"city": city} for city in cities]

        sent = mark()
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
        results = [
            {
                "type": "tool_result",
                "tool_use_id": calls[0].id,
                "content": [picture, {"type": "text", "text": "sunny"}],
            },
            {"type": "tool_result", "tool_use_id": calls[1].id, "content": "no such city", "is_error": True},
            {"type": "text", "text": f"{sent} [[say=done]]"},
        ]
        said = [block.model_dump(exclude_none=True) for block in first.content]
        history = [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": results}]
        second = ask(client, "", messages=history, tools=[WEATHER])

        assert text_of(second) == "done"
        upstream = stand_in.only(sent).body
        assert upstream["messages"] == history
        assert upstream["tools"] == [WEATHER]

    def test_tool_arguments_stream_as_partial_json(self, client: anthropic.Anthropic) -> None:
        wanted = {"city": "Rome", "days": [1, 2], "note": 'a "quoted" ü'}
        events = stream_events(client, f"[[tool=get_weather:{json.dumps(wanted)}]]", tools=[WEATHER])

        deltas = [event.delta for event in events if event.type == "content_block_delta"]
        parts = [delta.partial_json for delta in deltas if delta.type == "input_json_delta"]
        assert len(parts) > 2
        assert json.loads("".join(parts)) == wanted

    def test_return_tool_call_cut_off_by_max_tokens(self, client: anthropic.Anthropic) -> None:
        message = ask(client, '[[tool=get_weather:{"city": "Rome"}]] [[stop=max_tokens]]', tools=[WEATHER])

        assert message.stop_reason == "max_tokens"
        assert message.content[0].type == "tool_use"

    def test_round_trip_thinking_with_signature(self, client: anthropic.Anthropic, stand_in: StandInProcess) -> None:
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        opening = {"role": "user", "content": "[[think=let me see]] [[redacted=c2VjcmV0]] [[say=42]]"}
        first = ask(client, "", messages=[opening], thinking=thinking, max_tokens=2000)
        assert [block.type for block in first.content] == ["thinking", "redacted_thinking", "text"]
        assert first.content[0].model_dump() == {
            "type": "thinking",
            "thinking": "let me see",
            "signature": SIGNATURE,
        }

        sent = mark()
        said = [block.model_dump(exclude_none=True) for block in first.content]
        history = [opening, {"role": "assistant", "content": said}, {"role": "user", "content": f"{sent} [[n=1]]"}]
        ask(client, "", messages=history, thinking=thinking, max_tokens=2000)

        upstream = stand_in.only(sent).body
        assert upstream["messages"] == history
        assert upstream["thinking"] == thinking

    def test_citations_are_in_the_answer(self, client: anthropic.Anthropic) -> None:
        message = ask(client, "[[say=it is green]] [[cite=The grass is green.]]")

        block = message.content[0]
        assert block.type == "text"
        assert block.citations is not None
        assert block.citations[0].cited_text == "The grass is green."

    def test_return_server_tool_result(self, client: anthropic.Anthropic) -> None:
        used = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "weather"}}
        found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}

        message = ask(client, f"[[block={json.dumps(used)}]] [[block={json.dumps(found)}]] [[say=found]]")

        assert [block.type for block in message.content] == ["text", "server_tool_use", "web_search_tool_result"]

    def test_send_beta_names_of_beta_call_upstream(self, client: anthropic.Anthropic, stand_in: StandInProcess) -> None:
        sent = mark()

        client.beta.messages.create(
            model=MODEL,
            max_tokens=10,
            messages=[{"role": "user", "content": f"{sent} [[n=1]]"}],
            betas=["context-1m-2025-08-07", "files-api-2025-04-14"],
        )

        assert stand_in.only(sent).headers["anthropic-beta"] == "context-1m-2025-08-07,files-api-2025-04-14"
