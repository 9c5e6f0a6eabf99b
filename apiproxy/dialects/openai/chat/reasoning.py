"""Reasoning fields of Chat Completions requests, in the notations that clients use."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from apiproxy.dialects.openai.chat.schemas import ChatRequest, ReasoningOptions
from apiproxy.dialects.openai.translate.reasoning import ReasoningRequest, effort_for_budget, is_thinking

_DEFAULT_EFFORT = "medium"


def reasoning_request(request: ChatRequest, *, calls_lack_thinking: bool) -> ReasoningRequest:
    """Reasoning options of a request.

    From OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, or the Messages API's `thinking`.
    DeepSeek's `thinking`, which has no budget, counts as an effort.
    """
    field, thinking = "reasoning_effort", request.thinking
    effort: str | None = request.reasoning_effort
    if effort is None and request.reasoning is not None:
        field, effort = "reasoning", _effort_of(request.reasoning)
    if thinking is not None and thinking.get("type") == "enabled" and "budget_tokens" not in thinking:
        field, effort, thinking = "thinking", effort or _DEFAULT_EFFORT, None
    return ReasoningRequest(
        field=field,
        effort=effort,
        thinking=thinking,
        shown=_is_shown(request, effort, thinking),
        calls_lack_thinking=calls_lack_thinking,
    )


def newest_calls(messages: Sequence[Mapping[str, Any]], limit: int) -> list[str]:
    """Ids of the calls in valid Chat messages, those of the newest message first, at most `limit`."""
    found = (
        call["id"]
        for message in reversed(messages)
        if message["role"] == "assistant"
        for call in message.get("tool_calls") or ()
    )
    return list(islice(found, limit))


def _effort_of(options: ReasoningOptions) -> str | None:
    if options.effort is None and options.max_tokens is not None:
        return effort_for_budget(options.max_tokens)
    if options.effort is None and options.enabled is not None:
        return _DEFAULT_EFFORT if options.enabled else "none"
    return options.effort


def _is_shown(request: ChatRequest, effort: str | None, thinking: Mapping[str, Any] | None) -> bool:
    """True if the answer includes the thinking: the client requested reasoning and did not exclude it."""
    if request.include_reasoning is not None:
        return request.include_reasoning
    if request.reasoning is not None and request.reasoning.exclude is not None:
        return not request.reasoning.exclude
    return effort not in (None, "none") or is_thinking(thinking)
