"""`reasoning_effort` as `thinking` and `output_config.effort`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.translate.capabilities import Capabilities, Thinking
from apiproxy.dialects.openai.translate.ignored import IgnoredFields

# Thinking budgets, for models that need one. The API's minimum is 1,024.
BUDGET_TOKENS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_000,
    "max": 32_000,
}
MIN_BUDGET_TOKENS = 1024

_FORCED = "this model does not think when a tool is forced"
_CALLS_LACK_THINKING = "the tool calls lack their thinking"

_LOWER_EFFORT = {"max": "high", "xhigh": "high", "minimal": "low"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningRequest:
    """Reasoning options of a request.

    field: name of the effort field. shown: include the thinking in the answer. thinking: the Messages API's own field,
    which takes precedence. calls_lack_thinking: see `thinking.calls_lack_thinking`.
    """

    field: str
    effort: str | None = None
    thinking: Mapping[str, Any] | None = None
    shown: bool = False
    calls_lack_thinking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningPlan:
    """Reasoning fields of the Messages body; None: the field is omitted."""

    thinking: dict[str, Any] | None = None
    effort: str | None = None

    @property
    def active(self) -> bool:
        """True if thinking is requested."""
        return is_thinking(self.thinking)

    @property
    def by_budget(self) -> bool:
        """True if thinking is requested by a token budget, which has more restrictions."""
        return self.thinking is not None and self.thinking.get("type") == "enabled"


def plan_reasoning(
    asked: ReasoningRequest, *, capable: Capabilities, max_tokens: int, tool_forced: bool, ignored: IgnoredFields
) -> ReasoningPlan:
    """Choose the reasoning fields for a model. max_tokens: includes thinking tokens."""
    if asked.thinking is not None:
        return _own_thinking(asked, capable, tool_forced=tool_forced, ignored=ignored)
    if asked.effort is None:
        shows_default = asked.shown and capable.thinks_by_default
        return ReasoningPlan(thinking={"type": "adaptive", "display": "summarized"} if shows_default else None)
    if asked.effort == "none":
        return _off(asked, capable, ignored)
    if tool_forced and not capable.forced_while_thinking:
        ignored.add(asked.field, _FORCED)
        return ReasoningPlan()
    match capable.thinking:
        case Thinking.ADAPTIVE:
            display = {"display": "summarized"} if asked.shown else {}
            return ReasoningPlan(thinking={"type": "adaptive", **display}, effort=_effort(asked, capable, ignored))
        case Thinking.BUDGET:
            return _by_budget(asked, max_tokens, ignored)
        case Thinking.NONE:
            ignored.add(asked.field)
            return ReasoningPlan()


def is_thinking(thinking: Mapping[str, Any] | None) -> bool:
    """True if the value of a `thinking` field requests thinking."""
    return thinking is not None and thinking.get("type") in ("enabled", "adaptive")


def may_think(asked: ReasoningRequest, capable: Capabilities) -> bool:
    """True if the model may think, as far as the reasoning options decide it."""
    if asked.thinking is not None:
        return is_thinking(asked.thinking)
    return capable.thinks_by_default if asked.effort is None else asked.effort != "none"


def effort_for_budget(tokens: int) -> str:
    """Lowest effort with at least this thinking budget, else the highest."""
    return next((effort for effort, budget in BUDGET_TOKENS.items() if budget >= tokens), "xhigh")


def _own_thinking(
    asked: ReasoningRequest, capable: Capabilities, *, tool_forced: bool, ignored: IgnoredFields
) -> ReasoningPlan:
    """The client's own `thinking`, unless the upstream would reject it."""
    assert asked.thinking is not None
    thinking, effort = dict(asked.thinking), _effort(asked, capable, ignored)
    if is_thinking(thinking) and tool_forced and not capable.forced_while_thinking:
        ignored.add("thinking", _FORCED)
        return ReasoningPlan(effort=effort)
    if thinking.get("type") == "enabled" and asked.calls_lack_thinking:
        ignored.add("thinking", _CALLS_LACK_THINKING)
        return ReasoningPlan(effort=effort)
    return ReasoningPlan(thinking=thinking, effort=effort)


def _off(asked: ReasoningRequest, capable: Capabilities, ignored: IgnoredFields) -> ReasoningPlan:
    if not capable.thinks_by_default:
        return ReasoningPlan()
    if capable.thinking_off is not None:
        return ReasoningPlan(thinking=dict(capable.thinking_off))
    ignored.add(asked.field, "this model always thinks: sent as low")
    return ReasoningPlan(effort="low")


def _effort(asked: ReasoningRequest, capable: Capabilities, ignored: IgnoredFields) -> str | None:
    """The effort, or the next lower one that the model supports."""
    effort = asked.effort
    if effort is None or effort == "none" or not capable.efforts:
        return None
    if effort in capable.efforts:
        return effort
    lower = _LOWER_EFFORT[effort]
    if effort != "minimal":
        ignored.add(asked.field, f"{effort} sent as {lower}")
    return lower


def _by_budget(asked: ReasoningRequest, max_tokens: int, ignored: IgnoredFields) -> ReasoningPlan:
    assert asked.effort is not None
    if asked.calls_lack_thinking:
        # Else 400 "Expected `thinking` or `redacted_thinking`, but found `tool_use`": a turn that started without
        # thinking blocks cannot continue with thinking.
        ignored.add(asked.field, _CALLS_LACK_THINKING)
        return ReasoningPlan()
    room = max_tokens - max(MIN_BUDGET_TOKENS, max_tokens // 4)
    if room < MIN_BUDGET_TOKENS:
        ignored.add(asked.field, "max_tokens leaves no room for it")
        return ReasoningPlan()
    return ReasoningPlan(thinking={"type": "enabled", "budget_tokens": min(BUDGET_TOKENS[asked.effort], room)})
