"""Answers given by directives. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from apiproxy.standin.answer import Answer, compose
from apiproxy.standin.blocks import Block, JsonObject, text_block, thinking_block, tool_block, words
from apiproxy.standin.prompt import Body, last_user_text
from apiproxy.standin.usage import PromptCache, content_blocks, prompt_blocks
from tests.upstream.directives import Directives
from tests.upstream.script import seen

_DEFAULT_DELTAS = 20
_REFUSAL: JsonObject = {"type": "refusal", "category": None, "explanation": "A directive asked for a refusal."}
_IMAGE_TOKENS = 4_784
_DOCUMENT_TOKENS = 150_000
_WINDOW_TOKENS = 200_000
_NOT_COUNTED = frozenset({"model", "stream", "max_tokens", "temperature", "top_p", "top_k", "metadata"})


def directed_answer(body: Body, directives: Directives, cache: PromptCache) -> Answer:
    """The answer to a valid body with directives; `max_tokens` is ignored."""
    input_usage = _worst_case_usage(body) if directives.dense else cache.input_usage(body)
    answer = compose(body, _blocks(body, directives), input_usage, limit_length=False)
    usage: Any = {**answer.usage, **_given_input(directives.usage), **directives.usage}
    opening_usage = {**usage, "output_tokens": 1}
    if directives.exact_usage:
        usage = opening_usage = directives.exact_usage[0]
    stop_reason = directives.stop or answer.stop_reason
    return replace(
        answer,
        stop_reason=stop_reason,
        stop_details=_REFUSAL if stop_reason == "refusal" else None,
        usage=usage,
        opening_usage=opening_usage,
    )


def _given_input(given: Mapping[str, int]) -> JsonObject:
    """Input counts beside given ones: no cache but the one that was given."""
    if given.keys() <= {"output_tokens"}:
        return {}
    written = given.get("cache_creation_input_tokens", 0)
    breakdown = {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0}
    return {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "cache_creation": breakdown}


def _blocks(body: Body, directives: Directives) -> list[Block]:
    blocks = []
    if directives.think is not None:
        blocks.append(thinking_block(directives.think))
    if directives.redacted is not None:
        blocks.append(_literal_block({"type": "redacted_thinking", "data": directives.redacted}))
    pieces = _text(body, directives)
    if pieces is not None:
        block = text_block(pieces)
        blocks.append(block if directives.cite is None else _with_citation(block, directives.cite))
    blocks += [_literal_block(block) for block in directives.blocks]
    return blocks + [tool_block(name, tool_input) for name, tool_input in directives.tools]


def _text(body: Body, directives: Directives) -> Sequence[str] | None:
    if directives.echo:
        return words(last_user_text(body))
    if directives.seen:
        return words(orjson.dumps(seen(body)).decode())
    if directives.say is not None:
        return words(directives.say)
    if directives.huge is not None:
        return ["x" * directives.huge]
    if directives.n is None and (directives.tools or directives.blocks):
        return None
    return [f"tok{number} " for number in range(_DEFAULT_DELTAS if directives.n is None else directives.n)]


def _literal_block(block: Mapping[str, Any]) -> Block:
    """A block that is complete in content_block_start, but for the input of a server tool's call, as at the API.

    The API sends the input of an MCP call with its start; the CLI ends a stream with a delta of it.
    """
    if block.get("type") != "server_tool_use":
        return Block(dict(block), (), dict(block))
    delta = {"type": "input_json_delta", "partial_json": orjson.dumps(block.get("input")).decode()}
    return Block({**block, "input": {}}, [delta], dict(block))


def _with_citation(block: Block, cited: str) -> Block:
    citation = {
        "type": "char_location",
        "cited_text": cited,
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": len(cited),
    }
    deltas = [*block.deltas, {"type": "citations_delta", "citation": citation}]
    return Block({**block.announced, "citations": []}, deltas, {**block.complete, "citations": [citation]})


def _worst_case_usage(body: Body) -> JsonObject:
    """Input usage of random characters and long PDFs: one token per byte."""
    counted = {name: value for name, value in body.items() if name not in _NOT_COUNTED}
    total = len(orjson.dumps(counted))
    for block in prompt_blocks(body):
        for part in (block, *content_blocks(block.get("content") if isinstance(block, Mapping) else None)):
            total += _attachment_tokens(part)
    return {
        "input_tokens": min(total, _WINDOW_TOKENS),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def _attachment_tokens(block: Any) -> int:
    """Tokens of an image or document, less its data, which is counted already."""
    if not isinstance(block, Mapping) or not isinstance(source := block.get("source"), Mapping):
        return 0
    data = len(source["data"]) if source.get("type") == "base64" and isinstance(source.get("data"), str) else 0
    if block.get("type") == "image":
        return _IMAGE_TOKENS - data
    if block.get("type") == "document" and source.get("type") not in {"text", "content"}:
        return _DOCUMENT_TOKENS - data
    return 0
