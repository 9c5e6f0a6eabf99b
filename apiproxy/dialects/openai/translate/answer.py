"""What all answers share: ids, token counts and reasons to stop, in OpenAI's words."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from apiproxy.core.json_encoding import dumps

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]

# Changes when what stands behind the answers changes: the engine's version.
SYSTEM_FINGERPRINT = "fp_" + hashlib.sha256(version("claude-agent-sdk").encode()).hexdigest()[:10]

THINKING_TYPES = frozenset({"thinking", "redacted_thinking"})
REFUSAL_TEXT = "The model declined to answer this request."

_LENGTH = frozenset({"max_tokens", "model_context_window_exceeded"})
_SERVICE_TIERS: Mapping[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}


def completion_id(message_id: str) -> str:
    """The `chatcmpl-` id of an upstream message (`msg_…`): the same in a stream and in a plain answer."""
    return "chatcmpl-" + message_id.removeprefix("msg_")


def finish_reason(stop_reason: str | None, *, calls: bool, legacy: bool = False) -> FinishReason:
    """Why it stopped. calls: the answer holds calls for the client, beside one that carries the answer itself."""
    if stop_reason in _LENGTH:
        return "length"
    if stop_reason == "refusal":
        return "content_filter"
    if stop_reason == "tool_use" and calls:
        return "function_call" if legacy else "tool_calls"
    return "stop"


def refusal_text(stop_details: Mapping[str, Any] | None) -> str:
    """What to say of a refusal: the upstream's explanation, where it gives one."""
    explanation = (stop_details or {}).get("explanation")
    return explanation if isinstance(explanation, str) and explanation else REFUSAL_TEXT


def service_tier(usage: Mapping[str, Any]) -> str | None:
    """The tier that served the request, None where the upstream does not say."""
    return _SERVICE_TIERS.get(usage.get("service_tier") or "")


def merged_usage(before: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Token counts of `message_start` with those of a `message_delta`, which are totals and may be fewer."""
    return {**before, **{name: value for name, value in update.items() if value is not None}}


def input_tokens(usage: Mapping[str, Any]) -> int:
    """All input tokens: the Messages API counts those from and to the cache apart, OpenAI does not."""
    return (
        int(usage.get("input_tokens") or 0)
        + int(usage.get("cache_read_input_tokens") or 0)
        + int(usage.get("cache_creation_input_tokens") or 0)
    )


def reasoning_tokens(usage: Mapping[str, Any]) -> int | None:
    """Output tokens that went into thinking, None where the upstream does not say."""
    tokens = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return tokens if isinstance(tokens, int) else None


def chat_usage(usage: Mapping[str, Any], *, has_thinking: bool) -> dict[str, Any]:
    """The token counts of a chat completion. thought: there was thinking, so an unknown share is not zero."""
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
    """The input of a `tool_use` block as JSON text, which is how OpenAI has it."""
    return dumps(tool_use.get("input") or {}).decode()
