"""Steps of a running agent, bounded in number and size. No I/O."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from apiproxy.core.events import Step, StepKind, Usage
from apiproxy.core.text import storable
from observability.models import ID_CHARS, NAME_CHARS

MAX_STEPS = 500
"""Steps kept per run; later ones are counted only."""

MAX_CONTENT_CHARS = 20_000
"""Maximum size of a step's arguments, and of its result."""

MAX_RUN_CONTENT_CHARS = 1_000_000
"""Maximum size of all arguments and results of a run."""

MAX_ERROR_CHARS = 1_000
ATTEMPT_LOST = "attempt_lost"
"""Error of steps that had not ended when the run was attempted again."""

CUT = "[cut]"
"""Replaces content beyond the limits."""

_MAX_OPEN = 64
_MAX_DEPTH = 32
_VALUE_CHARS = 8
"""Size charged for every value, else a list of a million numbers would cost nothing."""
_MAX_INTEGER_BITS = 64
_STEP_BYTES = 700


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Position of a running agent.

    call: number of the current model call, from 1; 0 before the first. kind, name: of the latest step that has not
    ended, empty if there is none. parallel: number of tool calls that have not ended. cost_usd: of the model calls that
    have ended, None if none has a price. changes: increases with every change.
    """

    call: int
    kind: str
    name: str
    parallel: int
    model_calls: int
    tool_calls: int
    cost_usd: float | None
    changes: int


class StepLog:
    """Steps of one run. Modified on the event loop's thread only; other threads may read it.

    keep_content: keep arguments and results. has_errors: a step has an error text. model_calls: without those that the
    upstream refused. usage: of the model calls that have ended.
    """

    __slots__ = (
        "_call",
        "_content_chars",
        "_keep_content",
        "_open",
        "_prefix",
        "_steps",
        "changes",
        "has_errors",
        "model_calls",
        "omitted",
        "tool_calls",
        "usage",
    )

    def __init__(self, *, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._steps: dict[str, Step] = {}
        self._open: dict[str, Step] = {}
        self._prefix = ""
        self._call = 0
        self._content_chars = 0
        self.changes = 0
        self.has_errors = False
        self.model_calls = 0
        self.omitted = 0
        self.tool_calls = 0
        self.usage = Usage()

    def add(self, step: Step) -> None:
        """Add a step that has begun, or complete it if it has ended."""
        step_id = self._id(step.id)
        before = self._steps.get(step_id)
        if before is not None and before.ended_at is not None:
            return
        self.changes += 1
        if before is not None or len(self._steps) < MAX_STEPS:
            self._steps[step_id] = self._bounded(step, before)
        if before is None and (step_id in self._steps or step.ended_at is None):
            self._count(step, kept=step_id in self._steps)
        self._follow(step_id, step)

    def steps(self) -> list[Step]:
        """The first `MAX_STEPS` steps, in the order of their beginning."""
        return list(self._steps.copy().values())

    def find(self, step_id: str) -> Step | None:
        """Step of that id, as stored."""
        return next((step for step in self.steps() if storable(step.id, ID_CHARS) == step_id), None)

    def progress(self) -> Progress:
        """Position of the run."""
        running = list(self._open.copy().values())
        latest = running[-1] if running else None
        return Progress(
            call=self._call,
            kind="" if latest is None else latest.kind.value,
            name="" if latest is None else storable(latest.name, NAME_CHARS),
            parallel=sum(step.kind is StepKind.TOOL_CALL for step in running),
            model_calls=self.model_calls,
            tool_calls=self.tool_calls,
            cost_usd=self.usage.cost_usd,
            changes=self.changes,
        )

    @property
    def size_bytes(self) -> int:
        """Approximate memory of the log."""
        return len(self._steps) * _STEP_BYTES + self._content_chars

    def begin_attempt(self, at: float) -> None:
        """End the steps that are open, as failed: the run begins anew, with the same ids."""
        for step in list(self._open.values()):
            step_id, parent_id = step.id.removeprefix(self._prefix), step.parent_id.removeprefix(self._prefix)
            self.add(replace(step, id=step_id, parent_id=parent_id, ended_at=at, failed=True, error=ATTEMPT_LOST))
        self._prefix = f"{int(self._prefix[:-1] or 1) + 1}:"

    def drop(self) -> None:
        """Free the steps; they are counted as omitted."""
        self.omitted += len(self._steps)
        self._steps, self._content_chars = {}, 0

    def _count(self, step: Step, *, kept: bool) -> None:
        self.omitted += not kept
        self.model_calls += step.kind is StepKind.MODEL_CALL
        self.tool_calls += step.kind in (StepKind.TOOL_CALL, StepKind.DENIED)
        if step.kind is StepKind.MODEL_CALL and not step.parent_id:
            self._call = max(self._call, step.number)

    def _follow(self, step_id: str, step: Step) -> None:
        """Keep track of the steps that have not ended, and of the cost of those that have."""
        if step.ended_at is None:
            if len(self._open) < _MAX_OPEN:
                self._open[step_id] = self._steps.get(step_id) or replace(step, id=step_id, arguments=None, result=None)
            return
        self._open.pop(step_id, None)
        self.has_errors = self.has_errors or bool(step.error)
        if step.kind is StepKind.MODEL_CALL and step.failed and step.usage is None:
            self.model_calls -= 1
        if step.usage is not None:
            self.usage = _sum(self.usage, step.usage)

    def _id(self, step_id: str) -> str:
        return (self._prefix + step_id)[:ID_CHARS] if step_id else ""

    def _bounded(self, step: Step, before: Step | None) -> Step:
        """The step without unbounded values; what its beginning said is kept."""
        arguments, result = (None, None) if before is None else (before.arguments, before.result)
        if self._keep_content and arguments is None and step.arguments is not None:
            arguments = self._content(step.arguments)
        if self._keep_content and step.result is not None:
            result = self._content(step.result)
        return replace(
            step,
            id=self._id(step.id),
            name=step.name[:NAME_CHARS],
            error=step.error[:MAX_ERROR_CHARS],
            parent_id=self._id(step.parent_id),
            arguments=arguments,
            result=result,
        )

    def _content(self, value: object) -> Any:
        left = max(0, min(MAX_CONTENT_CHARS, MAX_RUN_CONTENT_CHARS - self._content_chars))
        copy = _Copy(left)
        found = copy.of(value)
        self._content_chars += left - max(0, copy.left)
        return found


def _sum(one: Usage, other: Usage) -> Usage:
    costs = [max(0.0, usage.cost_usd) for usage in (one, other) if usage.cost_usd is not None]
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_input_tokens=one.cache_read_input_tokens + other.cache_read_input_tokens,
        cache_creation_input_tokens=one.cache_creation_input_tokens + other.cache_creation_input_tokens,
        cost_usd=sum(costs) if costs else None,
    )


class _Copy:
    """Copy of a JSON value of limited size, without binary content."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def of(self, value: object, depth: int = 0) -> Any:
        self.left -= _VALUE_CHARS
        if self.left <= 0 or depth > _MAX_DEPTH:
            return CUT
        match value:
            case str():
                return self._text(value)
            case None | bool():
                return value
            case int():
                return value if value.bit_length() < _MAX_INTEGER_BITS else CUT
            case float():
                return value if math.isfinite(value) else str(value)
            case Mapping():
                return self._mapping(value, depth)
            case list() | tuple():
                return self._list(value, depth)
            case _:
                return self._text(str(type(value).__name__))

    def _text(self, text: str) -> str:
        kept = text[: self.left]
        self.left -= len(kept)
        return kept if len(kept) == len(text) else f"{kept}… {CUT}"

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        binary = "data" in value and ("media_type" in value or "mimeType" in value)
        found: dict[str, Any] = {}
        for name, item in value.items():
            if self.left <= 0:
                found["…"] = CUT
                break
            if binary and name == "data" and isinstance(item, str):
                found["data"] = f"[{len(item):,} characters]"
            else:
                found[self._text(str(name)[:NAME_CHARS])] = self.of(item, depth + 1)
        return found

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        found = []
        for item in value:
            if self.left <= 0:
                found.append(CUT)
                break
            found.append(self.of(item, depth + 1))
        return found
