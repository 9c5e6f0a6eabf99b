"""Stored form of an agent's steps. Untrusted text is sanitized here. Pure."""

import math
import re
from typing import Any, TypedDict

from apiproxy.core.events import Step, StepKind, Usage
from apiproxy.core.text import storable
from observability.models import ID_CHARS, NAME_CHARS
from observability.tracing.columns import WITHHELD, prompt_of
from observability.tracing.prompt_masking import Prompt
from observability.tracing.redact import Redactor
from observability.tracing.steps import MAX_ERROR_CHARS
from observability.tracing.trace_builder import ActiveTrace

_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Machine-readable errors, which quote nothing."""

_MAX_COUNT = 2**53


class StepUsage(TypedDict):
    """Tokens of a model call."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class StepJson(TypedDict):
    """A step. at_ms: beginning, from the receipt of the request. ms: duration, None if it has not ended.

    call: number of the model call in which it began. parent: id of the step that a subagent's step belongs to, empty
    otherwise. cost_usd: estimate; None if unknown.
    """

    id: str
    kind: str
    name: str
    call: int
    at_ms: float
    ms: float | None
    failed: bool
    error: str
    parent: str
    usage: StepUsage | None
    cost_usd: float | None


def steps_of(trace: ActiveTrace, redactor: Redactor, *, final: bool) -> list[StepJson]:
    """Steps in the order of their start.

    final: the run has ended; until then, error texts may be missing.
    """
    if trace.steps is None:
        return []
    steps = trace.steps.steps()
    errors = _Errors(trace, redactor, final=final)
    return [_step(step, errors.text_of(step), received_at=trace.received_at) for step in steps]


def contents_of(trace: ActiveTrace, redactor: Redactor) -> dict[str, Any] | None:
    """Arguments and results by step id, without credentials; None if the run has no steps."""
    if trace.steps is None:
        return None
    return {
        storable(step.id, ID_CHARS): content_of(step, redactor)
        for step in trace.steps.steps()
        if step.arguments is not None or step.result is not None
    }


def content_of(step: Step, redactor: Redactor) -> dict[str, Any]:
    """Arguments and result of a step, without credentials."""
    return {"arguments": redactor.body(step.arguments), "result": redactor.body(step.result)}


def _step(step: Step, error: str, *, received_at: float) -> StepJson:
    usage = step.usage
    return {
        "id": storable(step.id, ID_CHARS),
        "kind": step.kind.value,
        "name": storable(step.name, NAME_CHARS),
        "call": max(0, step.number),
        "at_ms": _span(received_at, step.started_at) or 0.0,
        "ms": None if step.ended_at is None else _span(step.started_at, step.ended_at),
        "failed": step.failed,
        "error": error,
        "parent": storable(step.parent_id, ID_CHARS),
        "usage": None if usage is None else _usage(usage),
        "cost_usd": None if usage is None or usage.cost_usd is None else max(0.0, usage.cost_usd),
    }


def _span(start: float, end: float) -> float | None:
    """Milliseconds from start to end, at least 0; None if a time is not finite."""
    length = end - start
    return round(1000 * max(0.0, length), 1) if math.isfinite(length) else None


def _usage(usage: Usage) -> StepUsage:
    return {
        "input_tokens": _count(usage.input_tokens),
        "output_tokens": _count(usage.output_tokens),
        "cache_read_input_tokens": _count(usage.cache_read_input_tokens),
        "cache_creation_input_tokens": _count(usage.cache_creation_input_tokens),
    }


def _count(count: int) -> int:
    return min(_MAX_COUNT, max(0, count))


class _Errors:
    """Error texts that may be stored: codes always, texts of tools only if the key stores bodies."""

    def __init__(self, trace: ActiveTrace, redactor: Redactor, *, final: bool) -> None:
        self._trace = trace
        self._redactor = redactor
        self._final = final
        self._stores_bodies = trace.turn.caller.store_bodies
        self._prompt: Prompt | None = None

    def text_of(self, step: Step) -> str:
        error = step.error
        if not error or _CODE.fullmatch(error):
            return error
        if self._stores_bodies:
            return self._redactor.text(error, limit=MAX_ERROR_CHARS)
        if step.kind in (StepKind.TOOL_CALL, StepKind.DENIED) or not self._final:
            return ""
        if self._trace.body is None:
            return WITHHELD
        if self._prompt is None:  # slow with large prompts
            self._prompt = prompt_of(self._trace)
        return self._redactor.text(error, prompt=self._prompt, limit=MAX_ERROR_CHARS)
