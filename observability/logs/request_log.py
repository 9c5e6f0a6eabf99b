"""A line in the log for each step of a request. Never its words, and not its error's message, which may quote them."""

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
    EndReason.QUEUE_TIMEOUT: "queue.timeout",
    EndReason.REFUSED: "request.refused",
}
_LEVELS = {Status.ERROR: logging.ERROR, Status.CANCELLED: logging.WARNING, Status.REFUSED: logging.WARNING}


class RunLog(Listener):
    """The listener that writes those lines."""

    def started(self, draft: ActiveTrace) -> None:
        """Tells of the request and whether it waits."""
        turn = draft.turn
        _log(
            logging.INFO,
            "trace.created",
            draft,
            dialect=turn.dialect,
            model=turn.model,
            requestedModel=turn.requested_model,
            stream=turn.stream,
            bodyBytes=turn.body_bytes,
            key=turn.caller.key_label,
            clientIp=turn.caller.client_ip,
            conversationId=turn.conversation_id,
        )
        if draft.queue_position:
            _log(logging.INFO, "queue.enqueued", draft, position=draft.queue_position)

    def changed(self, draft: ActiveTrace) -> None:
        """Tells of the slot, the worker and the first token."""
        match draft.phase:
            case Phase.ADMITTED if draft.retries:
                _log(logging.WARNING, "request.retrying", draft, retries=draft.retries)
            case Phase.ADMITTED:
                _log(logging.INFO, "queue.acquired", draft, waitMs=span_ms(draft.queued_at, draft.admitted_at))
            case Phase.WORKER_READY:
                wait = span_ms(draft.admitted_at, draft.worker_ready_at)
                _log(logging.DEBUG, "worker.ready", draft, pid=draft.worker_pid, waitMs=wait)
            case Phase.STREAMING:
                _log(logging.DEBUG, "request.first_token", draft, ttftMs=span_ms(draft.received_at, draft.latest))

    def stalled(self, draft: ActiveTrace) -> None:
        """Tells of the silence."""
        since = draft.last_event_at or draft.worker_ready_at
        silent = span_ms(since, time.time())
        _log(logging.WARNING, "request.stalled", draft, stallCount=draft.stalls, silentMs=silent, pid=draft.worker_pid)

    def ended(self, draft: ActiveTrace) -> None:
        """Tells how it ended, and what it took."""
        reason, failure = draft.end_reason or EndReason.INTERNAL, draft.failure
        fields: dict[str, Any] = {
            "endReason": reason.value,
            "model": draft.turn.model,
            "key": draft.turn.caller.key_label,
            "durationMs": span_ms(draft.received_at, draft.finished_at),
        }
        if draft.status is not Status.REFUSED:
            fields |= {
                "ttftMs": span_ms(draft.received_at, draft.first_token_at),
                "outputLen": draft.output_chars,
                "inputTokens": draft.usage.input_tokens,
                "outputTokens": draft.usage.output_tokens,
                "stopReason": draft.stop_reason or None,
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
        _log(_LEVELS.get(draft.status, logging.INFO), _END_EVENTS.get(reason, "request.error"), draft, **fields)


def _log(level: int, event: str, draft: ActiveTrace, **fields: Any) -> None:
    logger.log(level, event, extra={"reqId": draft.id, **{name: it for name, it in fields.items() if it is not None}})
