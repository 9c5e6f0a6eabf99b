"""Reading and basic validation of Messages bodies."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

Body = Mapping[str, Any]


class InvalidRequestError(ValueError):
    """Invalid Messages body; the text is the API's own where known."""


def validate(body: object, *, counting: bool = False) -> Body:
    """Return the body if its outline is valid, else raise InvalidRequestError.

    counting: for count_tokens, which needs no `max_tokens`.
    """
    if not _is_object(body):
        raise InvalidRequestError("The request body is not valid JSON: expected an object")
    for name, kind in (("model", str), ("messages", list), *(() if counting else (("max_tokens", int),))):
        if name not in body:
            raise InvalidRequestError(f"{name}: Field required")
        if not isinstance(body[name], kind) or isinstance(body[name], bool):
            raise InvalidRequestError(f"{name}: Input should be a valid {_KINDS[kind]}")
    if not body["messages"]:
        raise InvalidRequestError("messages: at least one message is required")
    if body.get("max_tokens", 1) < 1:
        raise InvalidRequestError("max_tokens: Input should be greater than or equal to 1")
    for number, message in enumerate(body["messages"]):
        _validate_message(number, message)
    return body


_KINDS = {str: "string", list: "list", int: "integer"}
_ROLES = ("user", "assistant", "system")  # "system" inside a conversation is a beta of the API


def _validate_message(number: int, message: object) -> None:
    if not _is_object(message):
        raise InvalidRequestError(f"messages.{number}: Input should be an object")
    if message.get("role") not in _ROLES:
        raise InvalidRequestError(
            f'messages: Unexpected role "{message.get("role")}". Allowed roles are "user" or "assistant".'
        )
    if not isinstance(message.get("content"), str | list):
        raise InvalidRequestError(f"messages.{number}.content: Field required")


def last_user_blocks(body: Body) -> list[Mapping[str, Any]]:
    """Content blocks of the last user message; a string becomes one text block."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            content = message["content"]
            return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return []


def last_user_text(body: Body) -> str:
    """Text of the last user message, including its tool results."""
    return "\n".join(_texts(last_user_blocks(body)))


def spoken_text(body: Body) -> str:
    """Text of the last user message, without its tool results."""
    return "\n".join(block.get("text", "") for block in last_user_blocks(body) if block.get("type") == "text")


def tool_results(body: Body) -> list[str]:
    """Text of each tool result in the last user message."""
    return ["\n".join(_texts([block])) for block in last_user_blocks(body) if block.get("type") == "tool_result"]


def count_images(body: Body) -> int:
    """Number of images in the last user message, including its tool results."""
    blocks = last_user_blocks(body)
    inner = [part for block in blocks for part in _parts(block.get("content"))]
    return sum(1 for block in (*blocks, *inner) if block.get("type") == "image")


def offered_tools(body: Body) -> list[Mapping[str, Any]]:
    """Client-side tools: those with an input schema."""
    tools = body.get("tools") or []
    return [tool for tool in tools if _is_object(tool) and isinstance(tool.get("input_schema"), Mapping)]


def called_tools(body: Body) -> set[str]:
    """Names of the tools called since the last user message that is not a tool result."""
    called: set[str] = set()
    for message in reversed(body["messages"]):
        blocks = _parts(message["content"])
        if message["role"] == "assistant":
            called.update(block["name"] for block in blocks if block.get("type") == "tool_use")
        elif not any(block.get("type") == "tool_result" for block in blocks):
            break
    return called


def wants_thinking(body: Body) -> bool:
    """True if extended thinking is enabled."""
    thinking = body.get("thinking")
    return _is_object(thinking) and thinking.get("type") in {"enabled", "adaptive"}


def _texts(blocks: list[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block.get("type") == "text":
            yield block.get("text", "")
        elif block.get("type") == "tool_result":
            content = block.get("content")
            yield content if isinstance(content, str) else "\n".join(_texts(_parts(content)))


def _parts(content: object) -> list[Mapping[str, Any]]:
    return [part for part in content if _is_object(part)] if isinstance(content, list) else []


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
