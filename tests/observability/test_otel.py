"""Spans: one a request, by the conventions, below the client's own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from apiproxy.core.events import Event, StepKind
from apiproxy.core.turns import Turn
from observability.otel import SpanExport
from observability.service import Config, Service
from observability.tracing.model_labels import ModelNames
from observability.tracing.recorder import Recorder
from tests.observability.builders import (
    NOW,
    Gateway,
    agent_course,
    course,
    failed,
    left,
    make_agent_turn,
    make_turn,
    opening,
    refused,
    step,
)

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def spans_of(*turns: tuple[Turn, bool]) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    export = SpanExport("http://127.0.0.1:9/", version="1.2.3", exporter=exporter)
    recorder = Recorder([export], names=ModelNames())
    for turn, well in turns:
        for event in course(ending=None if well else failed(message="quotes the prompt")):
            recorder.on_event(turn, event)
    export.stop(5)
    return list(exporter.get_finished_spans())


def test_export_run_as_span_with_attributes_and_phases() -> None:
    body = {"max_tokens": 64, "temperature": 0.5, "messages": [{"role": "user", "content": "my words"}]}
    (span,) = spans_of((make_turn(body=body, conversation_id="c-1"), True))

    assert span.name == "chat claude-sonnet-5"
    assert (span.start_time, span.end_time) == (int(NOW * 1e9), int((NOW + 1.0) * 1e9))
    attributes = dict(span.attributes or {})
    assert (
        attributes
        | {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-sonnet-5",
            "gen_ai.response.model": "claude-sonnet-5-20260101",
            "gen_ai.response.id": "msg_1",
            "gen_ai.response.finish_reasons": ("end_turn",),
            "gen_ai.conversation.id": "c-1",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.request.max_tokens": 64,
            "gen_ai.request.temperature": 0.5,
        }
        == attributes
    )
    assert [event.name for event in span.events] == [
        "queued", "admitted", "worker_ready", "first_event", "first_token", "last_event",
    ]  # fmt: skip
    assert span.resource.attributes["service.name"] == "claude-sdk-proxy"
    assert "my words" not in span.to_json()


def test_nest_span_below_client_and_ignore_bad_traceparent() -> None:
    child, orphan = spans_of((make_turn(traceparent=PARENT), True), (make_turn(traceparent="00-nonsense"), True))

    assert child.parent is not None
    assert f"{child.parent.trace_id:032x}-{child.parent.span_id:016x}" == PARENT[3:52]
    assert child.context is not None
    assert child.context.trace_id == child.parent.trace_id
    assert orphan.parent is None


def test_mark_failed_run_without_its_message() -> None:
    (span,) = spans_of((make_turn(), False))

    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "upstream_error"
    assert "quotes the prompt" not in span.to_json()


def test_export_span_of_rejected_request() -> None:
    exporter = InMemorySpanExporter()
    export = SpanExport("http://127.0.0.1:9", version="1", exporter=exporter)
    Recorder([export], names=ModelNames()).on_event(make_turn(model="\ud800"), refused())
    export.stop(5)

    assert len(exporter.get_finished_spans()) == 1


def agent_spans(*events: Event) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    export = SpanExport("http://127.0.0.1:9/", version="1.2.3", exporter=exporter)
    recorder, turn = Recorder([export], names=ModelNames()), make_agent_turn(traceparent=PARENT, store_bodies=True)
    for event in events:
        recorder.on_event(turn, event)
    export.stop(5)
    return {span.name: span for span in exporter.get_finished_spans()}


def test_export_agent_with_its_calls_below() -> None:
    spans = agent_spans(*agent_course())
    run = spans["invoke_agent support-bot"]
    assert run.attributes is not None
    assert (
        dict(run.attributes)
        | {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "support-bot",
            "gen_ai.agent.version": "3",
            "gen_ai.request.model": "claude-sonnet-5",
            "claude_proxy.agent.model_calls": 2,
        }
        == run.attributes
    )
    assert set(spans) == {
        "invoke_agent support-bot", "chat claude-sonnet-5", "execute_tool search", "execute_tool note",
    }  # fmt: skip
    assert run.context is not None
    for span in spans.values():
        assert span is run or (span.parent is not None and span.parent.span_id == run.context.span_id)
    tool = spans["execute_tool search"]
    assert dict(tool.attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "extension",
        "gen_ai.tool.call.id": "t1",
        "claude_proxy.mcp_server": "handbook",
    }
    assert (tool.start_time, tool.end_time) == (int((NOW + 0.5) * 1e9), int((NOW + 0.6) * 1e9))
    assert spans["execute_tool note"].status.status_code is StatusCode.ERROR
    assert dict(spans["execute_tool note"].attributes or {})["error.type"] == "tool_error"
    assert dict(spans["chat claude-sonnet-5"].attributes or {})["gen_ai.usage.output_tokens"] == 20


def test_export_no_words_of_tools() -> None:
    told = "".join(span.to_json() for span in agent_spans(*agent_course()).values())
    for words in ("opening hours", "From 9 to 5", "Jane Doe"):
        assert words not in told


def test_nest_spans_of_subagents_and_end_unfinished_ones() -> None:
    task = step("a", StepKind.TOOL_CALL, "agent/Task", at=NOW + 0.3)
    inner = step("b", StepKind.MODEL_CALL, "claude-haiku", at=NOW + 0.4, length_s=0.1, parent_id="a")
    retry = step("r", StepKind.RETRY, "claude-haiku", at=NOW + 0.5, length_s=0.1, failed=True)
    spans = agent_spans(*opening(), task, inner, retry, left())
    outer = spans["execute_tool Task"]
    assert outer.context is not None
    assert spans["chat claude-haiku"].parent is not None
    assert spans["chat claude-haiku"].parent.span_id == outer.context.span_id
    assert (outer.end_time, dict(outer.attributes or {})["error.type"]) == (int((NOW + 0.8) * 1e9), "unfinished")
    assert "retry" in [event.name for event in spans["invoke_agent support-bot"].events]


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def test_spans_arrive_at_a_collector_over_http() -> None:
    with collector() as (url, received):
        export = SpanExport(url, version="1.2.3")
        recorder, turn = Recorder([export], names=ModelNames()), make_turn()
        for event in course():
            recorder.on_event(turn, event)
        export.stop(10)

    ((path, raw),) = received
    message = ExportTraceServiceRequest.FromString(raw)
    assert path == "/v1/traces"
    assert message.resource_spans[0].scope_spans[0].spans[0].name == "chat claude-sonnet-5"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("on", [True, False])
async def test_stay_off_without_endpoint(on: bool, tmp_path: Path) -> None:
    with collector() as (url, received):
        config = Config(log_dir=tmp_path, retention_days=1, otel_endpoint=url if on else None)
        service = Service(Gateway(), config)
        await service.start()
        turn = make_turn()
        for event in course():
            service.recorder.on_event(turn, event)
        await service.stop(10)

    assert len(received) == int(on)
