"""Token estimates and a prompt cache, for plausible `usage` objects."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from apiproxy.standin.prompt import Body

_CHARS_PER_TOKEN = 4
_IMAGE_TOKENS = 1_600
_MAX_PREFIXES = 4_096
_LOOKBACK = 20
"""As the API's. Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""


def tokens(text_length: int) -> int:
    """Tokens of a text of that many characters: one per four, at least one."""
    return max(1, text_length // _CHARS_PER_TOKEN)


def count_tokens(body: Body) -> int:
    """Input tokens of a body; each image or document counts as 1,600."""
    return max(1, sum(_size(block) for block in prompt_blocks(body)))


class PromptCache:
    """Bounded set of prompt prefixes seen so far.

    What a prompt shares with the longest of them that ends at most `_LOOKBACK` blocks before its mark is a cache read,
    the rest up to the mark a write.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def input_usage(self, body: Body) -> dict[str, Any]:
        """Input fields of `usage`.

        The cached prefix ends at the last `cache_control`; one on the request itself means the end.
        """
        blocks = list(prompt_blocks(body))
        mark, length = _last_mark(body, blocks)
        prefix = blocks[:length]
        read = sum(_size(block) for block in prefix[: self._remember(prefix)])
        written = sum(map(_size, prefix)) - read
        hour = mark.get("ttl") == "1h"
        return {
            "input_tokens": max(1, sum(_size(block) for block in blocks[length:])),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if hour else written,
                "ephemeral_1h_input_tokens": written if hour else 0,
            },
        }

    def _remember(self, prefix: list[Any]) -> int:
        """Remember a prefix; return how many of its blocks were known."""
        hashed, digests = hashlib.sha256(), list[bytes]()
        for block in prefix:
            hashed.update(orjson.dumps(_unmarked(block)))
            digests.append(hashed.digest())
        start = max(0, len(digests) - _LOOKBACK)
        known = next((at for at in range(len(digests), start, -1) if digests[at - 1] in self._seen), 0)
        if digests:
            self._seen[digests[-1]] = None
            self._seen.move_to_end(digests[-1])
        if len(self._seen) > _MAX_PREFIXES:
            self._seen.popitem(last=False)
        return known


def _last_mark(body: Body, blocks: list[Any]) -> tuple[Mapping[str, Any], int]:
    """The last `cache_control`, and the number of blocks up to it."""
    mark = body.get("cache_control")
    if isinstance(mark, Mapping):
        return mark, len(blocks)
    for at in range(len(blocks), 0, -1):
        block = blocks[at - 1]
        mark = block.get("cache_control") if isinstance(block, Mapping) else None
        if isinstance(mark, Mapping):
            return mark, at
    return {}, 0


def _unmarked(block: Any) -> Any:
    return {k: v for k, v in block.items() if k != "cache_control"} if isinstance(block, Mapping) else block


def prompt_blocks(body: Body) -> Iterator[Any]:
    """Blocks of tools, system and messages, in the API's caching order."""
    yield from body.get("tools") or ()
    yield from content_blocks(body.get("system"))
    for message in body.get("messages") or ():
        yield from content_blocks(message.get("content"))


def content_blocks(content: object) -> Iterator[Any]:
    """Blocks of a `content` or `system` field; a string is one text block."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from content


def _size(block: Any) -> int:
    if isinstance(block, Mapping) and block.get("type") in {"image", "document"} and block.get("source"):
        return _IMAGE_TOKENS
    if isinstance(block, Mapping) and block.get("type") == "text":
        return tokens(len(str(block.get("text"))))
    return tokens(len(orjson.dumps(block)))
