"""OpenTelemetry spans of an agent's steps: `chat` for model calls, `execute_tool` for tool calls."""

from collections.abc import Mapping, Sequence

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace import Status as SpanStatus

from apiproxy.core.events import Step, StepKind
from apiproxy.core.text import storable

Attribute = str | bool | int | float | list[str]

_NANOSECONDS = 1_000_000_000
_MAX_NAME_CHARS = 200


def nanoseconds(at: float) -> int:
    """A Unix time as OpenTelemetry has it."""
    return int(at * _NANOSECONDS)


def export_steps(tracer: Tracer, run: Span, steps: Sequence[Step], *, ended_at: float) -> None:
    """Create the spans below that of the run, those of subagents below the step that started them.

    ended_at: end of the run, and of steps that have not ended.
    """
    spans: dict[str, Span] = {}
    for step in steps:
        if step.kind is StepKind.RETRY:
            run.add_event("retry", timestamp=nanoseconds(step.started_at))
            continue
        spans[step.id] = tracer.start_span(
            _name_of(step),
            context=set_span_in_context(spans.get(step.parent_id, run)),
            kind=SpanKind.CLIENT if step.kind is StepKind.MODEL_CALL else SpanKind.INTERNAL,
            attributes=dict(_attributes(step)),
            start_time=nanoseconds(step.started_at),
        )
        if step.failed or step.ended_at is None or step.kind is StepKind.DENIED:
            spans[step.id].set_status(SpanStatus(StatusCode.ERROR))
        spans[step.id].end(nanoseconds(max(step.started_at, ended_at if step.ended_at is None else step.ended_at)))


def _name_of(step: Step) -> str:
    operation = "chat" if step.kind is StepKind.MODEL_CALL else "execute_tool"
    return storable(f"{operation} {_tool_of(step)[1]}", _MAX_NAME_CHARS)


def _tool_of(step: Step) -> tuple[str, str]:
    """Server and name of a tool; no server and the id of a model."""
    server, slash, tool = step.name.partition("/")
    is_tool = bool(slash) and step.kind is not StepKind.MODEL_CALL
    return (server, tool) if is_tool else ("", step.name)


def _attributes(step: Step) -> Mapping[str, Attribute]:
    server, name = _tool_of(step)
    name = storable(name, _MAX_NAME_CHARS)
    found: dict[str, Attribute | None] = {"error.type": _error_type(step)}
    if step.kind is StepKind.MODEL_CALL:
        usage = step.usage
        found |= {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": name}
        if usage is not None:
            found |= {
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cache_read_input_tokens,
                "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_input_tokens,
                "claude_proxy.cost_usd_estimate": usage.cost_usd,
            }
    else:
        found |= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "extension",
            "gen_ai.tool.call.id": storable(step.id, _MAX_NAME_CHARS),
            "claude_proxy.mcp_server": storable(server, _MAX_NAME_CHARS) or None,
        }
    return {name: value for name, value in found.items() if value is not None}


def _error_type(step: Step) -> str | None:
    """Of few values, since the text of an error may quote anything."""
    if step.kind is StepKind.DENIED:
        return "denied"
    if step.failed:
        return "_OTHER" if step.kind is StepKind.MODEL_CALL else "tool_error"
    return "unfinished" if step.ended_at is None else None
