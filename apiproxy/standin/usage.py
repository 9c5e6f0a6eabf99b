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


def tokens(text_length: int) -> int:
    """Tokens of a text of that many characters: one per four, at least one."""
    return max(1, text_length // _CHARS_PER_TOKEN)


def count_tokens(body: Body) -> int:
    """Input tokens of a body; each image or document counts as 1,600."""
    return max(1, sum(_size(block) for block in prompt_blocks(body)))


class PromptCache:
    """Bounded set of prompt prefixes seen so far.

    The first use of a prefix is a cache write, later ones are reads.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def input_usage(self, body: Body) -> dict[str, Any]:
        """Input fields of `usage`. The cached prefix ends at the last `cache_control`."""
        blocks = list(prompt_blocks(body))
        marks = [at for at, block in enumerate(blocks) if isinstance(block, Mapping) and block.get("cache_control")]
        prefix = blocks[: marks[-1] + 1] if marks else []
        cached = sum(_size(block) for block in prefix)
        known = self._remember(prefix) if prefix else False
        written = 0 if known else cached
        hour = bool(marks) and blocks[marks[-1]]["cache_control"].get("ttl") == "1h"
        return {
            "input_tokens": max(1, sum(_size(block) for block in blocks[len(prefix) :])),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached if known else 0,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if hour else written,
                "ephemeral_1h_input_tokens": written if hour else 0,
            },
        }

    def _remember(self, prefix: list[Any]) -> bool:
        digest = hashlib.sha256(orjson.dumps(prefix)).digest()
        known = digest in self._seen
        self._seen[digest] = None
        self._seen.move_to_end(digest)
        if len(self._seen) > _MAX_PREFIXES:
            self._seen.popitem(last=False)
        return known


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
