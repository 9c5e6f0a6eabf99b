"""Thinking of earlier answers: as clients send it back, or put back from the recent answers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.answers.kept import KeptAnswer
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES
from apiproxy.dialects.openai.translate.content import Block, is_blank
from apiproxy.dialects.openai.translate.forced_call import HIDDEN
from apiproxy.dialects.openai.translate.ignored import IgnoredFields

Message = dict[str, Any]
UnsignedThinking = list[tuple[str, list[str]]]
"""Fields with thinking that has no signature, and the ids of the calls in their messages."""

_PLAIN_TYPES = THINKING_TYPES | {"text", "tool_use"}


@dataclass(frozen=True, slots=True)
class GivenThinking:
    """Thinking in an assistant message of the client.

    unsigned: name of a field with thinking without a signature; else empty.
    """

    blocks: list[Block]
    unsigned: str = ""


def signed_block(given: object) -> Block | None:
    """Thinking block that the upstream accepts; None if the object is not a signed block."""
    if not isinstance(given, Mapping):
        return None
    match given.get("type"):
        case "thinking":
            names: tuple[str, ...] = ("thinking", "signature")
        case "redacted_thinking":
            names = ("data",)
        case _:
            return None
    if not all(isinstance(given.get(name), str) for name in names) or not given[names[-1]]:
        return None
    return {"type": given["type"], **{name: given[name] for name in names}}


def given_thinking(message: Mapping[str, Any]) -> GivenThinking:
    """Thinking of a Chat message, in the first of the common notations that has signatures.

    `thinking_blocks` are LiteLLM's and this gateway's, `reasoning_details` OpenRouter's; `reasoning_content` (DeepSeek)
    and `reasoning` (vLLM, OpenRouter) are text without a signature.
    """
    unsigned = ""
    for name, read in (("thinking_blocks", signed_block), ("reasoning_details", _detail_block)):
        if not (parts := message.get(name)):
            continue
        found = [read(part) for part in parts] if isinstance(parts, list) else [None]
        blocks = [block for block in found if block is not None]
        if len(blocks) < len(found):
            unsigned = unsigned or name
        if blocks:
            return GivenThinking(blocks, unsigned)
    texts = (name for name in ("reasoning_content", "reasoning") if message.get(name))
    return GivenThinking([], unsigned or next(texts, ""))


def report_unsigned(given: UnsignedThinking, completed: Collection[str], ignored: IgnoredFields) -> None:
    """Report thinking without a signature, unless it was put back. completed: from `put_back`."""
    for field, calls in given:
        if not calls or any(call_id not in completed for call_id in calls):
            ignored.add(field)


def put_back(messages: Sequence[Message], answers: Mapping[str, KeptAnswer], *, model: str) -> frozenset[str]:
    """Put the thinking of recent answers back before their tool calls; return the ids of these calls.

    answers: by the ids of their calls. Left as they are: messages with thinking of their own, calls that were changed
    (the upstream rejects other thinking than its own), and answers of other models.
    """
    done: set[str] = set()
    begun: set[int] = set()
    for message in messages if answers else ():
        if message["role"] == "assistant" and not isinstance(message["content"], str):
            answer = _answer_of(message["content"], answers)
            if answer is not None and answer.model == model:
                done |= {block["id"] for block in message["content"] if block["type"] == "tool_use"}
                message["content"] = _as_answered(message["content"], answer, leads=id(answer) not in begun)
                begun.add(id(answer))
    return frozenset(done)


def sendable(answer: KeptAnswer) -> list[Block]:
    """Blocks of an answer that can be sent to the upstream, without blank text."""
    return [
        dict(block)
        for block in answer.content
        if block["type"] != HIDDEN and (block["type"] != "text" or not is_blank(block["text"]))
    ]


def calls_lack_thinking(messages: Sequence[Mapping[str, Any]]) -> bool:
    """True if the conversation ends within a turn that began with tool calls and without thinking."""
    first: Mapping[str, Any] | None = None
    for message in reversed(messages):
        if message["role"] == "user" and not has_tool_results(message):
            break
        if message["role"] == "assistant":
            first = message
    if first is None or isinstance(first["content"], str) or not has_tool_results(messages[-1]):
        return False
    kinds = [block["type"] for block in first["content"]]
    return "tool_use" in kinds and THINKING_TYPES.isdisjoint(kinds[: kinds.index("tool_use")])


def has_tool_results(message: Mapping[str, Any]) -> bool:
    """True if a message holds results of tool calls."""
    content = message["content"]
    return not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)


def _detail_block(detail: object) -> Block | None:
    """Block for an entry of `reasoning_details`."""
    if not isinstance(detail, Mapping):
        return None
    match detail.get("type"):
        case "reasoning.text":
            block = {"type": "thinking", "thinking": detail.get("text"), "signature": detail.get("signature")}
        case "reasoning.encrypted" if str(detail.get("format")).startswith("anthropic"):
            block = {"type": "redacted_thinking", "data": detail.get("data")}
        case _:
            return None
    return signed_block(block)


def _answer_of(blocks: Sequence[Block], answers: Mapping[str, KeptAnswer]) -> KeptAnswer | None:
    """Answer that contains all calls of a message, unchanged; else None.

    None also if the message has thinking.
    """
    calls = [block for block in blocks if block["type"] == "tool_use"]
    if not calls or any(block["type"] in THINKING_TYPES for block in blocks):
        return None
    answer = answers.get(calls[0]["id"])
    if answer is None:
        return None
    made = {block["id"]: (block["name"], block["input"]) for block in answer.content if block["type"] == "tool_use"}
    return answer if all(made.get(call["id"]) == (call["name"], call["input"]) for call in calls) else None


def _as_answered(blocks: list[Block], answer: KeptAnswer, *, leads: bool) -> list[Block]:
    """Blocks of a message, with the thinking of the answer.

    leads: no earlier message has calls of the answer.
    """
    own = sendable(answer)
    if leads and _PLAIN_TYPES.issuperset(block["type"] for block in own) and _says_the_same(blocks, own):
        return own
    leading: list[Block] = []
    gathered: list[Block] = []
    before: dict[str, list[Block]] = {}
    for index, block in enumerate(own):
        if block["type"] in THINKING_TYPES:
            gathered.append(block)
            continue
        if index == len(gathered):  # the first other block
            leading, gathered = gathered, []
        if block["type"] == "tool_use":
            before[block["id"]], gathered = gathered, []
    completed = [it for block in blocks for it in (*before.get(block.get("id", ""), ()), block)]
    return [*(leading if leads else ()), *completed]


def _says_the_same(blocks: Sequence[Block], own: Sequence[Mapping[str, Any]]) -> bool:
    """True if both have the same text and calls, and no cache mark would be lost."""
    return _visible(blocks) == _visible(own) and not any("cache_control" in block for block in blocks)


def _visible(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    return (
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        [block["id"] for block in blocks if block["type"] == "tool_use"],
    )
