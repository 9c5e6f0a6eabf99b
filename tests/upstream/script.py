"""Scripts of several steps, and what the upstream has seen: for clients that ask more than once. Pure.

    [[say=one]] [[then]] [[say=two]]
                        the first request is answered with what stands before `[[then]]`, the one after its answer
                        with what follows; after the last step, the last one again
    [[seen]]            a JSON object: what the request contains (`seen`)

The script is that of the last user message with directives; the assistant messages after it are the steps already
taken. A request that offers no tools (a client that asks for a title, quoting the user's prompt) gets the last step.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apiproxy.standin.prompt import Body, last_user_text
from apiproxy.standin.usage import content_blocks, prompt_blocks

_THEN = "[[then]]"
_COUNTED = {"images": "image", "documents": "document", "thinking": "thinking", "results": "tool_result"}
_QUOTES = re.compile(r'\\+"')


def current_text(body: Body) -> str:
    """The text whose directives count: the script's current step, or the last user text."""
    taken = 0
    for message in reversed(body["messages"]):
        if message["role"] == "assistant":
            taken += 1
        text = _spoken(message) if message["role"] == "user" else ""
        if "[[" not in text:
            continue
        if _THEN not in text:
            break
        steps = text.split(_THEN)
        if not body.get("tools"):
            return _QUOTES.sub('"', steps[-1])
        return steps[min(taken, len(steps) - 1)]
    return last_user_text(body)


def seen(body: Body) -> dict[str, Any]:
    """Content of a request, counted.

    messages, images, documents, thinking, results: their number in the conversation, tool results included. marks:
    places with `cache_control`. tools: their names. system: characters of it. model, max_tokens, effort, format, choice
    and thread: as sent; the format may be in the older field `output_format`.
    """
    parts = list(_parts(body))
    config = body.get("output_config") or {}
    return {
        "messages": len(body["messages"]),
        **{name: sum(part.get("type") == kind for part in parts) for name, kind in _COUNTED.items()},
        "marks": sum("cache_control" in part for part in parts) + ("cache_control" in body),
        "tools": [tool.get("name") or tool.get("type") for tool in body.get("tools") or ()],
        "system": sum(len(block.get("text", "")) for block in content_blocks(body.get("system"))),
        "model": body["model"],
        "max_tokens": body["max_tokens"],
        "effort": config.get("effort"),
        "format": (config.get("format") or body.get("output_format") or {}).get("type"),
        "choice": (body.get("tool_choice") or {}).get("type"),
        "thread": (body.get("thread") or {}).get("type"),
    }


def _spoken(message: Mapping[str, Any]) -> str:
    blocks = content_blocks(message["content"])
    return "\n".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def _parts(body: Body) -> Iterator[Mapping[str, Any]]:
    for block in prompt_blocks(body):
        if isinstance(block, Mapping):
            yield block
            yield from (part for part in content_blocks(block.get("content")) if isinstance(part, Mapping))
