"""Assistant messages of the stand-in, streamed or whole. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apiproxy.core.turns import new_id
from apiproxy.standin.blocks import Block, JsonObject, words
from apiproxy.standin.prompt import Body

_CHARS_PER_TOKEN = 4
_PING: JsonObject = {"type": "ping"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete assistant message.

    usage: at its end. opening_usage: in `message_start`.
    """

    id: str
    model: str
    blocks: Sequence[Block]
    stop_reason: str
    stop_sequence: str | None
    stop_details: JsonObject | None = None
    usage: Any
    opening_usage: Any

    def message(self) -> JsonObject:
        """The response body of a request without `stream`."""
        content = [block.complete for block in self.blocks]
        return {**self._head(), "content": content, **self._ending(), "usage": self.usage}

    def events(self) -> Iterator[JsonObject]:
        """The stream's events."""
        opening = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": self.opening_usage}
        yield {"type": "message_start", "message": {**self._head(), **opening}}
        for index, block in enumerate(self.blocks):
            yield {"type": "content_block_start", "index": index, "content_block": block.announced}
            if index == 0:
                yield _PING  # where the real API sends its first one
            for delta in block.deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield {"type": "message_delta", "delta": self._ending(), "usage": self.usage}
        yield {"type": "message_stop"}

    def _head(self) -> JsonObject:
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model}

    def _ending(self) -> JsonObject:
        details = {} if self.stop_details is None else {"stop_details": self.stop_details}
        return {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence, **details}


def compose(
    body: Body, blocks: Sequence[Block], input_usage: Mapping[str, Any], *, limit_length: bool = True
) -> Answer:
    """Build the answer to a valid body.

    It is cut at the body's stop sequences and, with limit_length, at `max_tokens`.
    """
    used_tool = any(block.complete["type"] == "tool_use" for block in blocks)
    stop = _Stop("tool_use" if used_tool else "end_turn")
    if sequences := [sequence for sequence in body.get("stop_sequences") or () if sequence]:
        blocks, stop = _cut_at_sequence(blocks, sequences, stop)
    if limit_length:
        blocks, stop = _cut_at_length(blocks, body["max_tokens"] * _CHARS_PER_TOKEN, stop)
    usage = {**input_usage, "output_tokens": _output_tokens(blocks), "service_tier": "standard"}
    return Answer(
        id=new_id("msg_"),
        model=body["model"],
        blocks=blocks,
        stop_reason=stop.reason,
        stop_sequence=stop.sequence,
        usage=usage,
        opening_usage={**usage, "output_tokens": 1},
    )


@dataclass(frozen=True, slots=True)
class _Stop:
    reason: str
    sequence: str | None = None


def _cut_at_sequence(blocks: Sequence[Block], sequences: Sequence[str], stop: _Stop) -> tuple[Sequence[Block], _Stop]:
    """Drop everything from the first stop sequence in a text block."""
    for number, block in enumerate(blocks):
        text = block.complete.get("text", "") if block.complete["type"] == "text" else ""
        found = [(at, sequence) for sequence in sequences if (at := text.find(sequence)) >= 0]
        if found:
            at, sequence = min(found)
            return [*blocks[:number], _truncated(block, at)], _Stop("stop_sequence", sequence)
    return blocks, stop


def _cut_at_length(blocks: Sequence[Block], limit: int, stop: _Stop) -> tuple[Sequence[Block], _Stop]:
    """Drop everything after so many characters of text; other blocks do not count."""
    kept: list[Block] = []
    for block in blocks:
        length = len(block.complete.get("text", ""))
        if length > limit:
            return [*kept, _truncated(block, limit)], _Stop("max_tokens")
        kept.append(block)
        limit -= length
    return kept, stop


def _truncated(block: Block, length: int) -> Block:
    text = block.complete["text"][:length]
    deltas: list[JsonObject] = [{"type": "text_delta", "text": piece} for piece in words(text)]
    return replace(block, deltas=deltas, complete={**block.complete, "text": text})


def _output_tokens(blocks: Sequence[Block]) -> int:
    """One token per delta: the pieces are about as long as tokens."""
    return max(1, sum(len(block.deltas) for block in blocks))
