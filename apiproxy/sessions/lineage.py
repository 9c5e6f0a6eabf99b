"""What a turn does to the history of its conversation, told by a chain of digests over its messages. Pure.

Each digest covers its message and all before it, so two histories agree up to a message exactly if the digests there
are equal. `cache_control` does not count, and a string counts as the one text block that it means.
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
"""Branches of one conversation that are known; the one that was used longest ago is forgotten."""
MAX_MESSAGES = 100_000
"""The most that the Messages API takes. Source: https://platform.claude.com/docs/en/api/messages"""


class Change(StrEnum):
    """What a turn does to the history. resume, repeat and fork go on with what was seen; undo and edit take it back."""

    FIRST = "first"
    RESUME = "resume"
    """The history that was seen last, and more."""
    REPEAT = "repeat"
    """The same history once more."""
    FORK = "fork"
    """It goes on from another branch than the one that was used last: several live side by side."""
    UNDO = "undo"
    """The end of the history is gone, and nothing is new."""
    EDIT = "edit"
    """A message that was seen is another now."""


RESUMES = frozenset({Change.RESUME, Change.REPEAT, Change.FORK})
RESETS = frozenset({Change.UNDO, Change.EDIT})


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a branch: how many messages it has, and the digest of the last."""

    count: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Lineage:
    """What is known of a conversation: the chain of the branch used last, and the ends of all, its own last."""

    chain: tuple[bytes, ...] = ()
    heads: tuple[Head, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a turn did. differed_at: the first message, from 0, that is not what was seen; None where all are."""

    change: Change
    differed_at: int | None = None


def chain_of(messages: Sequence[Any], *, at_once: int = _MANY_VALUES) -> tuple[bytes, ...]:
    """The chain of digests of a request's messages. at_once: how many values are written in one call."""
    digest = b""
    chain = []
    for message in messages[:MAX_MESSAGES]:
        digest = hashlib.blake2b(digest + _canonical(message, at_once), digest_size=DIGEST_BYTES).digest()
        chain.append(digest)
    return tuple(chain)


def compare(known: Lineage | None, chain: tuple[bytes, ...]) -> Comparison:
    """What a turn with this chain does to what is known."""
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
    """What is known after the turn."""
    if not chain:
        return known or Lineage()
    mine = Head(len(chain), chain[-1])
    extended = None if known is None else _longest_head(known, chain)
    others = [head for head in (known.heads if known else ()) if head not in (extended, mine)]
    return Lineage(chain, (*others, mine)[-MAX_HEADS:])


def common_length(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """How many messages two histories have in common, from the first on."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[middle - 1] == other[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low


def packed(chain: Sequence[bytes]) -> bytes:
    """The chain as one string of bytes."""
    return b"".join(chain)


def unpacked(data: bytes) -> tuple[bytes, ...]:
    """The chain that was packed."""
    return tuple(data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))


def _longest_head(known: Lineage, chain: tuple[bytes, ...]) -> Head | None:
    """The end of the longest branch that the chain goes on from."""
    within = [head for head in known.heads if head.count <= len(chain) and chain[head.count - 1] == head.digest]
    return max(within, key=lambda head: head.count, default=None)


def _canonical(message: Any, at_once: int) -> bytes:
    if isinstance(message, Mapping):
        message = {**message, "content": _blocks(message.get("content"))}
    if _is_large(message, at_once):
        return _digest(message)
    return _json(message)


def _is_large(value: Any, at_once: int) -> bool:
    """Whether to sort and to write the value takes more than a few milliseconds in one call."""
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
    """The value's digest, made in pieces, whatever the order of its keys: to sort 300,000 takes 0.3 s in one call."""
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
    """The text, by its digest where it is long: orjson would keep the interpreter's lock over all of it."""
    if len(text) <= _LONG_CHARS:
        return text
    digest = hashlib.blake2b()
    for start in range(0, len(text), _LONG_CHARS):
        digest.update(text[start : start + _LONG_CHARS].encode("utf-8", "surrogatepass"))
    return f"{len(text)} blake2b {digest.hexdigest()}"


def _block(block: Any) -> Any:
    """The block without `cache_control`, as far down as blocks go; a tool's input is data, and stays as it is."""
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
