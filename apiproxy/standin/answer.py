"""From a body and its directives to a complete message: pure, and the same for both forms of delivery."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apiproxy.core.turns import new_id
from apiproxy.standin import prompt
from apiproxy.standin.blocks import Block, JsonObject, literal_block, text_block, thinking_block, tool_block, words
from apiproxy.standin.demo import demo_blocks
from apiproxy.standin.directives import Directives
from apiproxy.standin.usage import PromptCache, dense_usage

_DEFAULT_DELTAS = 20
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An assistant message, not yet sent. usage has both sides, as at its end; opening_usage is message_start's."""

    id: str
    model: str
    blocks: Sequence[Block]
    stop_reason: str
    stop_sequence: str | None
    usage: Any
    opening_usage: Any

    def message(self) -> JsonObject:
        """The whole message, as a request without `stream` gets it."""
        content = [block.complete for block in self.blocks]
        return {**self._head(), "content": content, **self.ending(), "usage": self.usage}

    def opening(self) -> JsonObject:
        """The message in `message_start`: no content yet."""
        empty: JsonObject = {"content": [], "stop_reason": None, "stop_sequence": None}
        return {**self._head(), **empty, "usage": self.opening_usage}

    def ending(self) -> JsonObject:
        """The `delta` of `message_delta`."""
        ending: JsonObject = {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence}
        if self.stop_reason == "refusal":
            ending["stop_details"] = {
                "type": "refusal",
                "category": None,
                "explanation": "The stand-in was told to refuse.",
            }
        return ending

    def _head(self) -> JsonObject:
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model}


def compose(body: prompt.Body, directives: Directives, cache: PromptCache) -> Answer:
    """The answer to a valid body."""
    blocks = _directed_blocks(body, directives) if directives.given else demo_blocks(body)
    used_tool = any(block.complete["type"] == "tool_use" for block in blocks)
    stop = _Stop("tool_use" if used_tool else "end_turn")
    if sequences := [sequence for sequence in body.get("stop_sequences") or () if sequence]:
        blocks, stop = _stopped_at_sequence(blocks, sequences, stop)
    if not directives.given:
        blocks, stop = _stopped_at_length(blocks, body["max_tokens"] * _CHARS_PER_TOKEN, stop)
    usage = {
        **(dense_usage(body) if directives.dense else cache.input_usage(body)),
        "output_tokens": _output_tokens(blocks),
        "service_tier": "standard",
        **directives.usage,
    }
    return Answer(
        id=new_id("msg_"),
        model=body["model"],
        blocks=blocks,
        stop_reason=directives.stop or stop.reason,
        stop_sequence=stop.sequence,
        usage=exact[0] if (exact := directives.exact_usage) else usage,
        opening_usage=exact[0] if exact else {**usage, "output_tokens": 1},
    )


@dataclass(frozen=True, slots=True)
class _Stop:
    reason: str
    sequence: str | None = None


def _directed_blocks(body: prompt.Body, directives: Directives) -> list[Block]:
    blocks = []
    if directives.think is not None:
        blocks.append(thinking_block(directives.think))
    if directives.redacted is not None:
        blocks.append(literal_block({"type": "redacted_thinking", "data": directives.redacted}))
    pieces = _directed_text(body, directives)
    if pieces is not None:
        blocks.append(text_block(pieces, cited=directives.cite))
    blocks += [literal_block(block) for block in directives.blocks]
    return blocks + [tool_block(name, tool_input) for name, tool_input in directives.tools]


def _directed_text(body: prompt.Body, directives: Directives) -> list[str] | None:
    if directives.echo:
        return words(prompt.last_user_text(body))
    if directives.say is not None:
        return words(directives.say)
    if directives.huge is not None:
        return ["x" * directives.huge]
    if directives.n is None and (directives.tools or directives.blocks):
        return None
    return [f"tok{number} " for number in range(_DEFAULT_DELTAS if directives.n is None else directives.n)]


def _stopped_at_sequence(blocks: Sequence[Block], sequences: Sequence[str], stop: _Stop) -> tuple[list[Block], _Stop]:
    """Cuts at the first place in a text block where a stop sequence starts; what follows is never written."""
    for number, block in enumerate(blocks):
        text = block.complete.get("text", "") if block.complete["type"] == "text" else ""
        found = [(at, sequence) for sequence in sequences if (at := text.find(sequence)) >= 0]
        if found:
            at, sequence = min(found)
            return [*blocks[:number], _shortened(block, at)], _Stop("stop_sequence", sequence)
    return list(blocks), stop


def _stopped_at_length(blocks: Sequence[Block], limit: int, stop: _Stop) -> tuple[list[Block], _Stop]:
    """Cuts text that passes the limit in characters; other blocks are not counted."""
    kept: list[Block] = []
    for block in blocks:
        length = len(block.complete.get("text", ""))
        if length > limit:
            return [*kept, _shortened(block, limit)], _Stop("max_tokens")
        kept.append(block)
        limit -= length
    return kept, stop


def _shortened(block: Block, length: int) -> Block:
    text = block.complete["text"][:length]
    deltas: list[dict[str, Any]] = [{"type": "text_delta", "text": piece} for piece in words(text)]
    return replace(block, deltas=deltas, complete={**block.complete, "text": text})


def _output_tokens(blocks: Sequence[Block]) -> int:
    """One for each delta: the stand-in's pieces are about as long as tokens."""
    return max(1, sum(len(block.deltas) for block in blocks))
