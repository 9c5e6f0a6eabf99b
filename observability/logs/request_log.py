"""Log lines for each step of a request. Contains no prompt text or error messages, which may quote it."""

import logging
import time
from typing import Any

from observability.tracing.columns import span_ms
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import EndReason, Phase, Status

logger = logging.getLogger(__name__)

_END_EVENTS = {
    EndReason.COMPLETED: "request.completed",
    EndReason.CLIENT_DISCONNECT: "request.client_disconnect",
    EndReason.CANCELLED: "request.cancelled",
    EndReason.STALL: "request.stall_timeout",
    EndReason.MAX_DURATION: "request.max_duration",
    EndReason.MAX_OUTPUT: "request.max_output",
    EndReason.AGENT_BUDGET: "request.agent_budget",
    EndReason.QUEUE_TIMEOUT: "queue.timeout",
    EndReason.REFUSED: "request.refused",
}
_LEVELS = {Status.ERROR: logging.ERROR, Status.CANCELLED: logging.WARNING, Status.REFUSED: logging.WARNING}


class RequestLog(Listener):
    """Listener that logs the steps of requests."""

    def started(self, trace: ActiveTrace) -> None:
        turn = trace.turn
        _log(
            logging.INFO,
            "trace.created",
            trace,
            dialect=turn.dialect,
            model=turn.model,
            requestedModel=turn.requested_model,
            stream=turn.stream,
            bodyBytes=turn.body_bytes,
            key=turn.caller.key_label,
            clientIp=turn.caller.client_ip,
            conversationId=turn.conversation_id,
        )
        if trace.queue_position:
            _log(logging.INFO, "queue.enqueued", trace, position=trace.queue_position)

    def changed(self, trace: ActiveTrace) -> None:
        match trace.phase:
            case Phase.ADMITTED if trace.retries:
                _log(logging.WARNING, "request.retrying", trace, retries=trace.retries)
            case Phase.ADMITTED:
                _log(logging.INFO, "queue.acquired", trace, waitMs=span_ms(trace.queued_at, trace.admitted_at))
            case Phase.WORKER_READY:
                wait = span_ms(trace.admitted_at, trace.worker_ready_at)
                _log(logging.DEBUG, "worker.ready", trace, pid=trace.worker_pid, waitMs=wait)
            case Phase.STREAMING:
                _log(logging.DEBUG, "request.first_token", trace, ttftMs=span_ms(trace.received_at, trace.latest))

    def stalled(self, trace: ActiveTrace) -> None:
        since = trace.last_event_at or trace.worker_ready_at
        silent = span_ms(since, time.time())
        _log(logging.WARNING, "request.stalled", trace, stallCount=trace.stalls, silentMs=silent, pid=trace.worker_pid)

    def ended(self, trace: ActiveTrace) -> None:
        reason, failure = trace.end_reason or EndReason.INTERNAL, trace.failure
        fields: dict[str, Any] = {
            "endReason": reason.value,
            "model": trace.turn.model,
            "key": trace.turn.caller.key_label,
            "durationMs": span_ms(trace.received_at, trace.finished_at),
        }
        if trace.status is not Status.REFUSED:
            fields |= {
                "ttftMs": span_ms(trace.received_at, trace.first_token_at),
                "outputLen": trace.output_chars,
                "inputTokens": trace.usage.input_tokens,
                "outputTokens": trace.usage.output_tokens,
                "stopReason": trace.stop_reason or None,
            }
        if failure is not None:
            upstream = failure.error.upstream
            fields |= {
                "error": failure.error.kind.value,
                "phase": failure.phase.value,
                "param": failure.error.param,
                "upstreamStatus": upstream.status if upstream else None,
                "upstreamType": upstream.type if upstream else None,
            }
        _log(_LEVELS.get(trace.status, logging.INFO), _END_EVENTS.get(reason, "request.error"), trace, **fields)


def _log(level: int, event: str, trace: ActiveTrace, **fields: Any) -> None:
    logger.log(level, event, extra={"reqId": trace.id, **{name: it for name, it in fields.items() if it is not None}})
