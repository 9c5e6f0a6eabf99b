"""OpenTelemetry export: one GenAI span per run, with its phases as events. Requires the extra `otel`.

Those of agents have a child for each model call and tool call. Names:
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and …/gen-ai-agent-spans/. Spans contain no prompt text
and no arguments or results of tools.
"""

from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace import Status as SpanStatus
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from apiproxy.core.text import storable
from observability.otel_steps import Attribute, export_steps, nanoseconds
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

SERVICE = "claude-sdk-proxy"

_PHASES = ("queued", "admitted", "worker_ready", "first_event", "first_token", "last_event")
_REQUEST_NUMBERS = ("max_tokens", "temperature", "top_p", "top_k")
_EXPORT_TIMEOUT_S = 5.0


class SpanExport(Listener):
    """Listener that creates a span when a request ends; a background thread exports it."""

    def __init__(self, endpoint: str, *, version: str, exporter: SpanExporter | None = None) -> None:
        url = endpoint.rstrip("/")
        url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: version}), shutdown_on_exit=False
        )
        exporter = exporter or OTLPSpanExporter(endpoint=url, timeout=_EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, version)
        self._propagator = TraceContextTextMapPropagator()

    def ended(self, trace: ActiveTrace) -> None:
        """Create the span, as a child of the client's span if it sent a `traceparent`."""
        carrier = {"traceparent": trace.turn.traceparent} if trace.turn.traceparent else {}
        span = self._tracer.start_span(
            storable(f"{operation_of(trace)} {trace.turn.model}", 200),
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=dict(attributes_of(trace)),
            start_time=nanoseconds(trace.received_at),
        )
        for phase in _PHASES:
            at = getattr(trace, f"{phase}_at")
            if at is not None:
                span.add_event(phase, timestamp=nanoseconds(at))
        ended_at = trace.finished_at or trace.latest
        if trace.steps is not None:
            export_steps(self._tracer, span, trace.steps.steps(), ended_at=ended_at)
        if trace.status in (Status.ERROR, Status.REFUSED, Status.INTERRUPTED):
            span.set_status(SpanStatus(StatusCode.ERROR))
        span.end(nanoseconds(ended_at))

    def stop(self, timeout_s: float) -> None:
        """Export remaining spans, for at most `timeout_s`. Blocks."""
        self._provider.force_flush(int(timeout_s * 1000))
        self._provider.shutdown()


def operation_of(trace: ActiveTrace) -> str:
    """Name of the operation, with which the span's name begins."""
    return "chat" if trace.turn.agent is None else "invoke_agent"


def attributes_of(trace: ActiveTrace) -> Mapping[str, Attribute]:
    """Span attributes, without unknown values."""
    turn, usage, failure, body = trace.turn, trace.usage, trace.failure, trace.body or {}
    found: dict[str, Attribute | None] = {
        "gen_ai.operation.name": operation_of(trace),
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": storable(turn.model if turn.agent is None else turn.agent.model, 200),
        "gen_ai.response.model": storable(trace.response_model, 200) or None,
        "gen_ai.response.id": storable(trace.response_id, 200) or None,
        "gen_ai.response.finish_reasons": [trace.stop_reason] if trace.stop_reason else None,
        "gen_ai.conversation.id": storable(turn.conversation_id, 200) if turn.conversation_id else None,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_input_tokens,
        "error.type": failure.error.kind.value if failure else None,
        "claude_proxy.request_id": trace.id,
        "claude_proxy.dialect": turn.dialect,
        "claude_proxy.key": storable(turn.caller.key_label, 200),
        "claude_proxy.stream": turn.stream,
        "claude_proxy.end_reason": trace.end_reason.value if trace.end_reason else None,
        "claude_proxy.cost_usd_estimate": usage.cost_usd,
        "claude_proxy.cost_unpriced": [storable(part, 200) for part in usage.unpriced] or None,
    }
    if turn.agent is not None and trace.steps is not None:
        found |= {
            "gen_ai.agent.name": turn.agent.slug,
            "gen_ai.agent.version": str(turn.agent.version),
            "gen_ai.agent.description": storable(turn.agent.description, 200) or None,
            "claude_proxy.agent.model_calls": trace.steps.model_calls,
            "claude_proxy.agent.tool_calls": trace.steps.tool_calls,
        }
    for name in _REQUEST_NUMBERS:
        value = body.get(name)
        if isinstance(value, int | float):
            found[f"gen_ai.request.{name}"] = value
    return {name: value for name, value in found.items() if value is not None}
