"""Conversation id of a request, from its headers or its body. Pure."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from apiproxy.models import CONVERSATION_ID_CHARS

_HEADERS = ("x-conversation-id", "x-session-id", "x-claude-code-session-id", "session-id", "x-session-affinity")
"""Headers with a conversation id; the first one counts: two of the gateway's own, then those of Claude Code, Codex
and OpenCode. `session_id` of older clients cannot be one: the server drops names with an underscore, which could pass
for those with a hyphen."""
_CLAUDE_CODE = re.compile(r"user_\w{0,128}_account_[\w-]{0,64}_session_([\w-]{1,256})")
"""Claude Code's `metadata.user_id`; newer versions send a JSON object with `session_id` instead."""
_MAX_USER_ID_CHARS = 512
"""Twice the limit of the Messages API. Longer values are ignored."""
_INFO = "Conversation info"
_INFO_BLOCK = re.compile(r"Conversation info[^\n`]{0,200}\s{0,40}```json\s{0,40}(\{.*?\})\s{0,40}```", re.DOTALL)
_MAX_INFO_CHARS = 16_384
"""Maximum distance from the title to the end of the block."""
_MAX_SEARCHED_CHARS = 1_000_000
_MAX_SEARCHED_BLOCKS = 1_000
_MAX_SEARCHED_MESSAGES = 1_000
"""Limits of the search for the last user message and the title in it, which runs on the event loop for every
request."""


def conversation_id(headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> str | None:
    """Conversation id of a request; None if it has none.

    Taken from a header, else `metadata.user_id`, else the "Conversation info" block of the last user message. Not from
    `prompt_cache_key`, which groups prompts, not turns.
    headers: looked up in lower case. body: an unvalidated Messages API body.
    """
    for name in _HEADERS:
        if given := headers.get(name, "").strip():
            return normal(given)
    if body is None:
        return None
    found = _of_metadata(body.get("metadata")) or _of_label(body.get("messages"))
    return normal(found) if found else None


def normal(given: str) -> str:
    """The id, or its digest if it is too long or not printable."""
    if len(given) <= CONVERSATION_ID_CHARS and given.isprintable():
        return given
    return "sha256:" + hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()


def _of_metadata(metadata: object) -> str | None:
    user_id = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if not isinstance(user_id, str):
        return None
    if len(user_id) > _MAX_USER_ID_CHARS:
        return None
    if match := _CLAUDE_CODE.fullmatch(user_id):
        return match[1]
    return _text(_object(user_id).get("session_id")) if user_id.startswith("{") else None


def _of_label(messages: object) -> str | None:
    """The label in the first block with the title; later blocks are ignored."""
    left = _MAX_SEARCHED_CHARS
    for text in islice(_last_user_texts(messages), _MAX_SEARCHED_BLOCKS):
        start = text.find(_INFO, 0, left)
        if start >= 0:
            match = _INFO_BLOCK.match(text, start, start + _MAX_INFO_CHARS)
            info = _object(match[1]) if match else {}
            return _text(info.get("conversation_label")) or _text(info.get("sender_id"))
        left -= len(text)
        if left <= 0:
            break
    return None


def _last_user_texts(messages: object) -> Iterator[str]:
    every: list[Any] = messages if isinstance(messages, list) else []
    for message in islice(reversed(every), _MAX_SEARCHED_MESSAGES):
        if not isinstance(message, Mapping) or message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        blocks: list[Any] = content if isinstance(content, list) else []
        for block in islice(blocks, _MAX_SEARCHED_BLOCKS):
            if isinstance(block, Mapping) and block.get("type") == "text" and isinstance(block.get("text"), str):
                yield block["text"]
        return


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """An id as text; numbers are allowed."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None
