"""The fold of a stream equals the plain answer, as the `openai` package itself folds it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import hypothesis
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind
from apiproxy.dialects.openai.translate.messages_body import Reply
from tests.dialects.openai.server_tools import (
    CITATION,
    CITED,
    FOUND,
    LISTING,
    MCP_CALL,
    MCP_RESULT,
    NOT_FOUND,
    SEARCH,
    text,
)
from tests.dialects.openai.support import Events, answer, folded, payloads, responses
from tests.dialects.openai.typed import JSON

SOME = hypothesis.settings(max_examples=60, deadline=None)
CREATED = 1_700_000_000
BUILT_IN = (ToolKind.TOOL_SEARCH, ToolKind.LOCAL_SHELL, ToolKind.SHELL, ToolKind.APPLY_PATCH)
_RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

TEXT = st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=12))
CALLED = {
    "edit": CalledTool(kind=ToolKind.CUSTOM, name="edit file"),
    "files__edit": CalledTool(kind=ToolKind.CUSTOM, name="edit", namespace="files"),
    "calc__add": CalledTool(kind=ToolKind.FUNCTION, name="add", namespace="calc"),
    **{kind.value: CalledTool(kind=kind, name=kind) for kind in BUILT_IN},
}
FIELDS = ("input", "command", "commands", "env", "path", "type", "diff", "timeout_ms")
ARGUMENTS = st.dictionaries(
    st.text(max_size=4)
    | st.sampled_from(["input", "command", "commands", "env", "path", "type", "diff", "timeout_ms"]),
    JSON | st.sampled_from(["create_file", ["ls", "-l"], {"PATH": "/"}, 5]),
    max_size=4,
)
TOOL_USE = st.builds(
    lambda name, arguments: {"type": "tool_use", "id": "", "name": name, "input": arguments},
    st.sampled_from(["get_weather", "json_answer", *CALLED]),
    ARGUMENTS | st.text(max_size=12).map(lambda text: {"input": text}),
)
THINKING = st.builds(
    lambda text, signature: {"type": "thinking", "thinking": text, "signature": signature},
    st.text(max_size=12),
    st.text(max_size=6),
)
REDACTED = st.just({"type": "redacted_thinking", "data": "cmVk"})
CITATIONS = st.lists(
    st.sampled_from([CITATION, {**CITATION, "url": "https://example.org/b", "title": None}, {"type": "char_location"}]),
    max_size=3,
)
CALL_NUMBERS = st.integers(1, 2)
SERVER_BLOCKS = st.one_of(  # also calls without results, results without calls, and ids that repeat
    st.builds(
        lambda number, given: {**SEARCH, "id": f"srvtoolu_{number}", "input": given},
        CALL_NUMBERS,
        st.sampled_from([{}, {"query": "x"}, {"query": 7}]),
    ),
    st.builds(
        lambda number, result: {**result, "tool_use_id": f"srvtoolu_{number}"},
        CALL_NUMBERS,
        st.sampled_from([FOUND, NOT_FOUND]),
    ),
    st.builds(
        lambda number, given: {**MCP_CALL, "id": f"mcptoolu_{number}", "input": given},
        CALL_NUMBERS,
        st.dictionaries(st.text(max_size=4), JSON, max_size=2),
    ),
    st.builds(
        lambda number, failed, content: {
            **MCP_RESULT,
            "tool_use_id": f"mcptoolu_{number}",
            "is_error": failed,
            "content": content,
        },
        CALL_NUMBERS,
        st.booleans(),
        st.sampled_from(["", "ok", [], [text("a"), text("b")]]),
    ),
    st.just(LISTING),
    st.just(CITED),
    st.builds(lambda words, pages: {**text(words), "citations": pages}, st.text(max_size=5), CITATIONS),
)
STOPS = st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal", "stop_sequence", "pause_turn"])


@st.composite
def answers(draw: st.DrawFn) -> Events:
    blocks = [
        *draw(st.lists(THINKING | REDACTED, max_size=2)),
        *draw(st.lists(TEXT | TOOL_USE | SERVER_BLOCKS, max_size=6)),
    ]
    first_answer = next((block for block in blocks if block.get("name") == "json_answer"), None)
    blocks = [block for block in blocks if block.get("name") != "json_answer" or block is first_answer]
    blocks = [
        {**block, "id": f"toolu_{at}"} if block["type"] == "tool_use" else block for at, block in enumerate(blocks)
    ]
    usage = draw(st.sampled_from([{}, {"cache_read_input_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}}]))
    return answer(*blocks, stop_reason=draw(STOPS), pieces=draw(st.integers(1, 4)), **usage)


@st.composite
def json_answers(draw: st.DrawFn) -> Events:
    """Answers whose first text is JSON, as a forced call has it."""
    texts = [{"type": "text", "text": json.dumps(value)} for value in draw(st.lists(ARGUMENTS, max_size=2))]
    stop = draw(st.sampled_from(["end_turn", "max_tokens", "stop_sequence"]))
    return answer(*draw(st.lists(THINKING, max_size=1)), *texts, stop_reason=stop, pieces=draw(st.integers(1, 4)))


def batches(events: Events, size: int) -> Iterable[Sequence[dict[str, Any]]]:
    return (events[at : at + size] for at in range(0, len(events), size))


def comparable(value: Any) -> Any:
    """JSON texts by their value: the upstream's spacing is lost in a whole message."""
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, str) and value[:1] == "{":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


@SOME
@hypothesis.given(answers(), st.booleans(), st.sampled_from([None, "json_answer"]), st.integers(1, 9))
def test_fold_chunks_to_plain_completion_in_client(
    events: Events, reasoning: bool, answer_tool: str | None, size: int
) -> None:
    called = {name: tool for name, tool in CALLED.items() if tool.kind is ToolKind.CUSTOM}
    reply = Reply(reasoning=reasoning, answer_tool=answer_tool, include_usage=True, called=called)
    assert_chunks_fold(events, reply, size)


@SOME
@hypothesis.given(json_answers(), st.booleans(), st.sampled_from(["get_weather", "edit"]), st.integers(1, 9))
def test_fold_chunks_of_a_forced_call_to_the_completion(
    events: Events, reasoning: bool, forced: str, size: int
) -> None:
    reply = Reply(reasoning=reasoning, forced_call=forced, include_usage=True, called={"edit": CALLED["edit"]})
    assert_chunks_fold(events, reply, size)


@SOME
@hypothesis.given(answers(), st.booleans(), st.booleans(), st.integers(1, 9))
def test_fold_events_in_client_to_the_plain_response(events: Events, summary: bool, encrypted: bool, size: int) -> None:
    assert_events_fold(events, replace(responses_reply(summary=summary, encrypted=encrypted), called=CALLED), size)


@SOME
@hypothesis.given(json_answers(), st.sampled_from(["get_weather", *CALLED]), st.integers(1, 9))
def test_fold_events_of_a_forced_call_to_the_response(events: Events, forced: str, size: int) -> None:
    reply = replace(responses_reply(summary=True, encrypted=True), called=CALLED, forced_call=forced)
    assert_events_fold(events, reply, size)


def assert_chunks_fold(events: Events, reply: Reply, size: int) -> None:
    encoder = ChatStream(reply, created=CREATED)
    stream = b"".join(map(encoder.encode, batches(events, size))) + encoder.finish()
    state = ChatCompletionStreamState()
    chunks = [ChatCompletionChunk.construct(**payload) for payload in payloads(stream)]
    for chunk in chunks:
        state.handle_chunk(chunk)
    plain = completion(folded(events), reply, created=CREATED)
    ChatCompletion.model_validate(plain)
    streamed: Any = state.current_completion_snapshot.to_dict()
    for call in streamed["choices"][0]["message"].get("tool_calls") or ():
        del call["index"]  # the client's fold leaves it there
    assert comparable(without_nulls(streamed)) == comparable(without_nulls({**plain, "object": "chat.completion"}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert stream.endswith(b"data: [DONE]\n\n")


def assert_events_fold(events: Events, reply: ResponsesReply, size: int) -> None:
    encoder = ResponsesStream(reply, created=CREATED)
    stream = b"".join(map(encoder.encode, batches(events, size))) + encoder.finish()
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    found = payloads(stream)
    deltas: dict[int, str] = {}
    for payload in found:
        state.handle_event(_RESPONSE_EVENT.validate_python(payload))
        if payload["type"] == "response.custom_tool_call_input.delta":
            deltas[payload["output_index"]] = deltas.get(payload["output_index"], "") + payload["delta"]
    plain = response_object(folded(events), reply, created=CREATED)
    Response.model_validate(plain)
    assert comparable(found[-1]["response"]) == comparable(plain)
    assert [payload["sequence_number"] for payload in found] == list(range(len(found)))
    done = {it["output_index"]: it["item"] for it in found if it["type"] == "response.output_item.done"}
    assert [done[index] for index in sorted(done)] == found[-1]["response"]["output"]
    assert deltas == {at: item["input"] for at, item in done.items() if item.get("input")}


def responses_reply(*, summary: bool, encrypted: bool) -> ResponsesReply:
    body: dict[str, Any] = {"include": ["reasoning.encrypted_content"]} if encrypted else {}
    if encrypted or summary:
        body["include"] = [*body.get("include", []), "web_search_call.action.sources"]
    return responses(body | ({"reasoning": {"summary": "auto"}} if summary else {})).reply


def without_nulls(value: Any) -> Any:
    """Fields that are null may be left out of a fold."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
