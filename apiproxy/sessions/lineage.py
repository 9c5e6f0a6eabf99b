"""Lineage: compares histories by a chain of digests over messages. Pure.

Each digest covers its message and all before it, so two histories agree up to a message exactly if the digests there
are equal. `cache_control` is ignored, and a string equals a single text block.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

DIGEST_BYTES = 8
_LONG_CHARS = 1024 * 1024
_MANY_VALUES = 10_000
_MAX_DEPTH = 200
MAX_HEADS = 16
"""Maximum branches of a conversation; the least recently used one is dropped."""
MAX_MESSAGES = 100_000
"""Limit of the Messages API. Source: https://platform.claude.com/docs/en/api/messages"""


class Change(StrEnum):
    """Change of the history by a turn: continued (resume, repeat, fork) or reverted."""

    FIRST = "first"
    RESUME = "resume"
    """The last history with further messages."""
    REPEAT = "repeat"
    """The same history again."""
    FORK = "fork"
    """Continues another branch than the last one."""
    UNDO = "undo"
    """Messages removed from the end, none added."""
    EDIT = "edit"
    """A known message was changed."""


RESUMES = frozenset({Change.RESUME, Change.REPEAT, Change.FORK})
RESETS = frozenset({Change.UNDO, Change.EDIT})


@dataclass(frozen=True, slots=True)
class Head:
    """End of a branch: number of messages, and digest of the last."""

    count: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Lineage:
    """Chain of the last used branch, and heads of all branches, its own last."""

    chain: tuple[bytes, ...] = ()
    heads: tuple[Head, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of a comparison. differed_at: index of the first different message."""

    change: Change
    differed_at: int | None = None


def chain_of(messages: Sequence[Any], *, at_once: int = _MANY_VALUES) -> tuple[bytes, ...]:
    """Chain of digests of messages. at_once: values serialised in one call."""
    digest = b""
    chain = []
    for message in messages[:MAX_MESSAGES]:
        digest = hashlib.blake2b(digest + _canonical(message, at_once), digest_size=DIGEST_BYTES).digest()
        chain.append(digest)
    return tuple(chain)


def compare(known: Lineage | None, chain: tuple[bytes, ...]) -> Comparison:
    """Classify a turn with this chain."""
    if known is None:
        return Comparison(Change.FIRST)
    head = _longest_head(known, chain)
    if head is not None:
        if head != known.heads[-1]:
            return Comparison(Change.FORK)
        return Comparison(Change.REPEAT if head.count == len(chain) else Change.RESUME)
    common = common_length(known.chain, chain)
    return Comparison(Change.UNDO if common == len(chain) else Change.EDIT, common)


def followed(known: Lineage | None, chain: tuple[bytes, ...]) -> Lineage:
    """Lineage after the turn."""
    if not chain:
        return known or Lineage()
    mine = Head(len(chain), chain[-1])
    extended = None if known is None else _longest_head(known, chain)
    others = [head for head in (known.heads if known else ()) if head not in (extended, mine)]
    return Lineage(chain, (*others, mine)[-MAX_HEADS:])


def common_length(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Length of the common prefix of two chains."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[middle - 1] == other[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low


def packed(chain: Sequence[bytes]) -> bytes:
    """Serialise a chain."""
    return b"".join(chain)


def unpacked(data: bytes) -> tuple[bytes, ...]:
    """Parse the result of `packed`."""
    return tuple(data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))


def _longest_head(known: Lineage, chain: tuple[bytes, ...]) -> Head | None:
    """Head of the longest branch that the chain continues."""
    within = [head for head in known.heads if head.count <= len(chain) and chain[head.count - 1] == head.digest]
    return max(within, key=lambda head: head.count, default=None)


def _canonical(message: Any, at_once: int) -> bytes:
    if isinstance(message, Mapping):
        message = {**message, "content": _blocks(message.get("content"))}
    if _is_large(message, at_once):
        return _digest(message)
    return _json(message)


def _is_large(value: Any, at_once: int) -> bool:
    """True if serialising the value in one call takes more than a few milliseconds."""
    chars, values, waiting = 0, 0, [value]
    while waiting and chars <= _LONG_CHARS and values <= at_once:
        part = waiting.pop()
        if isinstance(part, str):
            chars += len(part)
        elif isinstance(part, Mapping):
            values += len(part)
            waiting.extend((*part, *part.values()))
        elif isinstance(part, list):
            values += len(part)
            waiting.extend(part)
    return bool(waiting) or chars > _LONG_CHARS or values > at_once


def _digest(value: Any, depth: int = 0) -> bytes:
    """Digest of a value in pieces, independent of key order.

    Sorting 300,000 keys would take 0.3 s in one call.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        total = 0
        for name, item in value.items():
            pair = hashlib.blake2b(_json(name) + b":" + _digest(item, depth + 1), digest_size=16).digest()
            total += int.from_bytes(pair)
        digest.update(b"{%d" % total)
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        digest.update(b"[")
        for item in value:
            digest.update(_digest(item, depth + 1))
    else:
        digest.update(_json(_short(value) if isinstance(value, str) else value))
    return digest.digest()


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _blocks(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": _short(content)}]
    return [_block(block) for block in content] if isinstance(content, list) else content


def _short(text: str) -> str:
    """The text, or its digest if it is long: orjson would hold the GIL for all of it."""
    if len(text) <= _LONG_CHARS:
        return text
    digest = hashlib.blake2b()
    for start in range(0, len(text), _LONG_CHARS):
        digest.update(text[start : start + _LONG_CHARS].encode("utf-8", "surrogatepass"))
    return f"{len(text)} blake2b {digest.hexdigest()}"


def _block(block: Any) -> Any:
    """Remove `cache_control`, also in nested blocks, but not in a tool's input."""
    if not isinstance(block, Mapping):
        return block
    plain = {name: value for name, value in block.items() if name != "cache_control"}
    if isinstance(plain.get("text"), str):
        plain["text"] = _short(plain["text"])
    if "content" in plain:
        plain["content"] = _blocks(plain["content"])
    source = plain.get("source")
    if isinstance(source, Mapping) and "content" in source:
        plain["source"] = {**source, "content": _blocks(source["content"])}
    return plain
