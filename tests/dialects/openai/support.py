"""Helpers of the OpenAI dialect's tests: short translations, and upstream answers as events."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as BetaMessageCreateParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.message import MessageFold
from apiproxy.dialects.openai.chat.parse import read_chat, translate_chat
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.reply import ResponsesTranslation, StoredHistory
from apiproxy.dialects.openai.translate.capabilities import Sampling, capabilities
from apiproxy.dialects.openai.translate.messages_body import Target, Translation
from tests.dialects.openai.typed import misfit

Events = list[dict[str, Any]]

MODEL = "claude-sonnet-4-5"
MODELS = (
    MODEL,
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-opus-4-6",
    "claude-haiku-5-5",
    "claude-3-5-haiku-latest",
)
MAX_OUTPUT_TOKENS = 64_000
SAMPLING = {"temperature", "top_p", "top_k"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjQ="


def chat(body: Mapping[str, Any], *, model: str = MODEL, strict: bool = False) -> Translation:
    """The translation of a chat body; messages default to one of the user's."""
    whole = {"model": "gpt-4o", "messages": [user("hi")], **body}
    target = Target(model=model, max_output_tokens=MAX_OUTPUT_TOKENS)
    return checked(translate_chat(read_chat(whole), target=target, strict=strict))


def responses(
    body: Mapping[str, Any], *, model: str = MODEL, strict: bool = False, stored: StoredHistory | None = None
) -> ResponsesTranslation:
    """The translation of a Responses body; the input defaults to a text."""
    whole = {"model": "gpt-4o", "input": "hi", **body}
    target = Target(model=model, max_output_tokens=MAX_OUTPUT_TOKENS)
    translation = translate_responses(read_responses(whole), target=target, strict=strict, stored=stored)
    checked(translation)
    return translation


def checked(translation: Translation) -> Translation:
    """The translation, whose body is one that the official client's types allow.

    Those types know the current models only; the sampling parameters of the older ones come beside.
    """
    body = translation.body
    sampling = SAMPLING & body.keys()
    assert not sampling or capabilities(body["model"]).sampling is not Sampling.NONE
    unsampled = {name: value for name, value in body.items() if name not in sampling}
    params = BetaMessageCreateParams if translation.betas else MessageCreateParamsNonStreaming
    assert misfit(unsampled, params) is None, json.dumps(body)
    return translation


def refusal(body: Mapping[str, Any], **options: Any) -> ProxyError:
    """The error for a chat body that is refused."""
    with pytest.raises(ProxyError) as caught:
        chat(body, **options)
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    assert caught.value.param is not None
    assert caught.value.message.startswith(f"{caught.value.param}: ")
    return caught.value


def user(content: object) -> dict[str, Any]:
    """A user's message."""
    return {"role": "user", "content": content}


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    """A call in an assistant's message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def function(name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A declared tool."""
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}, **more}}


def tool_turn(*results: tuple[str, object]) -> list[dict[str, Any]]:
    """A question, an assistant's calls, and their results."""
    calls = {"role": "assistant", "content": None, "tool_calls": [call(name, "f") for name, _ in results]}
    return [user("hi"), calls, *({"role": "tool", "tool_call_id": name, "content": it} for name, it in results)]


def answer(*blocks: Mapping[str, Any], stop_reason: str = "end_turn", pieces: int = 3, **usage: Any) -> Events:
    """The events of an upstream answer with these blocks, each streamed in so many pieces."""
    return list(_events(blocks, stop_reason, pieces, {"input_tokens": 10, "output_tokens": 5, **usage}))


def _events(
    blocks: Sequence[Mapping[str, Any]], stop_reason: str, pieces: int, usage: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    head = {"id": "msg_01Abc", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    opening = {**head, "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": opening}
    for index, block in enumerate(blocks):
        start, deltas = _streamed(dict(block), pieces)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ending: dict[str, Any] = {"stop_reason": stop_reason, "stop_sequence": None}
    if stop_reason == "refusal":
        ending["stop_details"] = {"type": "refusal", "category": None, "explanation": "No, sorry."}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def _streamed(block: dict[str, Any], pieces: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in cut(block["text"], pieces)]
            citations = block.get("citations")
            if citations is None:
                return {**block, "text": ""}, deltas
            cited = [{"type": "citations_delta", "citation": citation} for citation in citations]
            return {**block, "text": "", "citations": []}, [*cited, *deltas]
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            texts = cut(json.dumps(block["input"]) if block["input"] else "", pieces)
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in texts]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"], pieces)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        case _:
            return block, []


def cut(text: str, pieces: int) -> list[str]:
    """The text in so many pieces; some may be empty."""
    size = max(1, -(-len(text) // pieces))
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def folded(events: Events) -> dict[str, Any]:
    """The whole message of the events."""
    fold = MessageFold()
    fold.add(events)
    return fold.message


def payloads(stream: bytes) -> list[Any]:
    """Data of a stream's events, in order, without comments and the end mark."""
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]
