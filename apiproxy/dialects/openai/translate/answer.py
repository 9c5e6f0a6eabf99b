"""Ids, token counts and finish reasons of answers, shared by both APIs."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from apiproxy.core.json_encoding import dumps
from apiproxy.core.message import CUT_OFF, UnparsedInput

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]

# Changes with the backend: the version of the engine.
SYSTEM_FINGERPRINT = "fp_" + hashlib.sha256(version("claude-agent-sdk").encode()).hexdigest()[:10]

THINKING_TYPES = frozenset({"thinking", "redacted_thinking"})
REFUSAL_TEXT = "The model declined to answer this request."

_LENGTH = CUT_OFF | {"pause_turn"}
_SERVICE_TIERS: Mapping[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}


def completion_id(message_id: str) -> str:
    """`chatcmpl-` id for an upstream id (`msg_…`), whether streamed or not."""
    return "chatcmpl-" + message_id.removeprefix("msg_")


def finish_reason(stop_reason: str | None, *, calls: bool, legacy: bool = False) -> FinishReason:
    """Finish reason.

    calls: the answer has tool calls for the client, not counting the one that carries the answer.
    """
    if stop_reason in _LENGTH:
        return "length"
    if stop_reason == "refusal":
        return "content_filter"
    if stop_reason == "tool_use" and calls:
        return "function_call" if legacy else "tool_calls"
    return "stop"


def refusal_text(stop_details: Mapping[str, Any] | None) -> str:
    """Text of a refusal: the upstream's explanation, or a default."""
    explanation = (stop_details or {}).get("explanation")
    return explanation if isinstance(explanation, str) and explanation else REFUSAL_TEXT


def service_tier(usage: Mapping[str, Any]) -> str | None:
    """Service tier of the request; None if the upstream does not report it."""
    return _SERVICE_TIERS.get(usage.get("service_tier") or "")


def input_tokens(usage: Mapping[str, Any]) -> int:
    """All input tokens.

    The Messages API counts cache reads and writes separately; OpenAI does not.
    """
    return (
        int(usage.get("input_tokens") or 0)
        + int(usage.get("cache_read_input_tokens") or 0)
        + int(usage.get("cache_creation_input_tokens") or 0)
    )


def reasoning_tokens(usage: Mapping[str, Any]) -> int | None:
    """Output tokens used for thinking; None if the upstream does not report them."""
    tokens = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return tokens if isinstance(tokens, int) else None


def chat_usage(usage: Mapping[str, Any], *, has_thinking: bool) -> dict[str, Any]:
    """Token counts of a chat completion.

    has_thinking: an unreported number of reasoning tokens is not 0.
    """
    prompt, completion = input_tokens(usage), int(usage.get("output_tokens") or 0)
    result: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": int(usage.get("cache_read_input_tokens") or 0),
            "cache_write_tokens": int(usage.get("cache_creation_input_tokens") or 0),
        },
    }
    reasoning = reasoning_tokens(usage)
    if reasoning is not None or not has_thinking:
        result["completion_tokens_details"] = {"reasoning_tokens": reasoning or 0}
    return result


def arguments(tool_use: Mapping[str, Any]) -> str:
    """Input of a `tool_use` block as JSON text, as in OpenAI's API.

    If it is not valid JSON, the model's own text.
    A client may run what it can read, so a call that was cut off must not look complete.
    """
    given = tool_use.get("input") or {}
    if isinstance(given, UnparsedInput):
        return given.text
    if isinstance(given, str):  # some upstreams start a call with its input as text, or with a blank one
        return "{}" if given.isspace() else given
    return dumps(given).decode()
