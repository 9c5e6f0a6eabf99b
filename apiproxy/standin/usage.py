"""Token counts that look like the API's: about four characters a token, and a prompt cache that remembers."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from apiproxy.standin.prompt import Body

_CHARS_PER_TOKEN = 4
_IMAGE_TOKENS = 1_600
_REMEMBERED = 4_096
_DENSE_IMAGE_TOKENS = 4_784
_DENSE_DOCUMENT_TOKENS = 150_000
_WINDOW_TOKENS = 200_000
_UNREAD = frozenset({"model", "stream", "max_tokens", "temperature", "top_p", "top_k", "metadata"})


def tokens(text_length: int) -> int:
    """How many tokens a text of so many characters has, at least one."""
    return max(1, text_length // _CHARS_PER_TOKEN)


def count_tokens(body: Body) -> int:
    """The input tokens of a body; images count for a fixed number."""
    return max(1, sum(_size(block) for block in _prompt_blocks(body)))


def dense_usage(body: Body) -> dict[str, Any]:
    """The input side of a `usage` at its worst, as for random characters and long PDFs: a token for every byte."""
    read = {name: value for name, value in body.items() if name not in _UNREAD}
    total = len(orjson.dumps(read))
    for block in _prompt_blocks(body):
        for part in (block, *_blocks(block.get("content") if isinstance(block, Mapping) else None)):
            total += _attachment(part)
    return {
        "input_tokens": min(total, _WINDOW_TOKENS),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def _attachment(block: Any) -> int:
    """What an image or a document counts for beyond the bytes of the rest of its block."""
    if not isinstance(block, Mapping) or not isinstance(source := block.get("source"), Mapping):
        return 0
    data = len(source["data"]) if source.get("type") == "base64" and isinstance(source.get("data"), str) else 0
    if block.get("type") == "image":
        return _DENSE_IMAGE_TOKENS - data
    if block.get("type") == "document" and source.get("type") not in {"text", "content"}:
        return _DENSE_DOCUMENT_TOKENS - data
    return 0


class PromptCache:
    """Which cached prefixes have been seen: the first use of one writes it, a later one reads it. Bounded."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def input_usage(self, body: Body) -> dict[str, Any]:
        """The input side of a `usage` object: uncached tokens, and the prefix up to the last `cache_control`."""
        blocks = list(_prompt_blocks(body))
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
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return known


def _prompt_blocks(body: Body) -> Iterator[Any]:
    """Tools, system and messages as one list of blocks, in the order in which the API caches them."""
    yield from body.get("tools") or ()
    yield from _blocks(body.get("system"))
    for message in body.get("messages") or ():
        yield from _blocks(message.get("content"))


def _blocks(content: object) -> Iterator[Any]:
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
