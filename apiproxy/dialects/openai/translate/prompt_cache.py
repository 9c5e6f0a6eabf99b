"""Prompt caching for clients that mark nothing, as OpenAI's own API caches without being asked.

docs/decisions/0026-openai-prompt-caching.md gives the reasons.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from apiproxy.dialects.openai.fields import Cacheable
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES
from apiproxy.dialects.openai.translate.content import Block, cache_mark
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

HEADER = "x-proxy-cache"
"""Request header: `off` leaves an unmarked prompt unmarked, `on` marks it even where the key says otherwise."""
FIELDS = frozenset({"cache_control", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"})
"""Request fields that are read here. `prompt_cache_key` has no effect: the upstream finds the prefix without it."""

_FIVE_MINUTES: Mapping[str, str] = {"type": "ephemeral"}
_NOTE = "five minutes, renewed by each use"
_SHORT_RETENTIONS = (None, "in_memory", "in-memory")


class CacheMode(StrEnum):
    """Place of the breakpoint of an unmarked prompt."""

    OFF = "off"
    REQUEST = "request"
    """On the request: the upstream moves it to the last block that can be cached."""
    BLOCK = "block"
    """On the last block, for upstreams that take marks on blocks only: Bedrock and Vertex."""


def cache_mode(header: str, *, by_default: bool, on_blocks: bool) -> CacheMode:
    """Mode of a request. header: value of `HEADER`, empty for the key's own choice (by_default).

    on_blocks: the upstream takes marks on blocks only. Raises ProxyError (INVALID_REQUEST).
    """
    given = header.strip().lower()
    if given not in ("", "on", "off"):
        raise invalid_field(HEADER, "must be `on` or `off`")
    if given == "off" or not (given or by_default):
        return CacheMode.OFF
    return CacheMode.BLOCK if on_blocks else CacheMode.REQUEST


def plan_cache(
    given: Mapping[str, Any], *, mode: CacheMode, marked: bool, ignored: IgnoredFields
) -> Mapping[str, Any] | None:
    """Breakpoint for the request as a whole; None for none.

    given: the request's `FIELDS`. marked: the client has marked blocks. A breakpoint of the gateway's own has the
    cheapest lifetime, whatever `prompt_cache_retention` says. Raises ProxyError (INVALID_REQUEST).
    """
    own = given.get("cache_control")
    if own is not None:
        if not isinstance(own, dict):
            raise invalid_field("cache_control", "must be an object")
        return own
    options = given.get("prompt_cache_options")
    options = options if isinstance(options, Mapping) else {}
    if given.get("prompt_cache_retention") not in _SHORT_RETENTIONS:
        ignored.add("prompt_cache_retention", _NOTE)
    if options.get("ttl") is not None:
        ignored.add("prompt_cache_options.ttl", _NOTE)
    if marked or mode is CacheMode.OFF or options.get("mode") == "explicit":
        return None
    return _FIVE_MINUTES


def apply_mark(body: dict[str, Any], mark: Mapping[str, Any] | None, mode: CacheMode) -> None:
    """Put the breakpoint on the body, or on its last block that takes one. Changes the body."""
    if mark is None:
        return
    if mode is not CacheMode.BLOCK:
        body["cache_control"] = dict(mark)
        return
    for message in reversed(body["messages"]):
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        if mark_last(message["content"], mark):
            return


def marked(blocks: list[Block], message: Cacheable) -> list[Block]:
    """The blocks of a message; the last has the message's own breakpoint, where some clients put it."""
    if mark := cache_mark(message).get("cache_control"):
        mark_last(blocks, mark)
    return blocks


def mark_last(blocks: Sequence[Block], mark: Mapping[str, Any]) -> bool:
    """Put a breakpoint on the last block that can have one, unless it already has one.

    False if no block can have one, as with thinking.
    """
    for block in reversed(blocks):
        if block["type"] not in THINKING_TYPES:
            block.setdefault("cache_control", dict(mark))
            return True
    return False
