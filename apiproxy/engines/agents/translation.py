"""Translation of the CLI's messages of a run into the events of one message of the Messages API. Pure.

The upstream's messages of all model calls become one: their blocks are numbered through, and there is one
`message_delta`, with the usage of the whole run. Calls become `mcp_tool_use` blocks, results `mcp_tool_result` blocks.
User messages that the CLI adds of its own are not shown.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Step, StreamEvent
from apiproxy.core.json_encoding import dumps
from apiproxy.engines.agents.ending import ENDING_REASONS, PAUSED, RunCounts, ending_of, out_of_time
from apiproxy.engines.agents.tool_calls import ToolCalls, denied_calls, results_in
from apiproxy.engines.agents.usage_fields import usage_fields
from apiproxy.engines.base import Broken, Completed, Outcome, Stopped
from apiproxy.engines.stream.block_indices import BlockIndices
from apiproxy.engines.stream.counts import clamp_event
from apiproxy.engines.stream.validation import StreamValidator

_STRUCTURED_OUTPUT = "StructuredOutput"
_CUT_OFF = "The call has no result, because the agent's run was over."


class Translation:
    """State of one run.

    model: name of the message's model, the one that the client asked for. clock: Unix time in seconds. listing: blocks
    that come first.
    """

    def __init__(
        self,
        agent: AgentSpec,
        *,
        model: str,
        counts: RunCounts,
        on_step: Callable[[Step], None],
        clock: Callable[[], float],
        listing: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.outcome: Outcome | None = None
        self._agent = agent
        self._model = model
        self._counts = counts
        self._clock = clock
        self._listing = listing
        self._calls = ToolCalls(agent, on_step=on_step)
        self._model_calls = 0
        self._validator = StreamValidator()
        self._indices = BlockIndices()
        self._shown: dict[int, int] = {}
        """Open blocks of the current model call: their index there, and in the client's message."""
        self._call_ids: dict[int, str] = {}
        """Tool calls among the open blocks."""
        self._next_index = 0
        self._held: list[dict[str, Any]] = []
        """Results that came before the end of their model call, which clients get after all of its blocks."""
        self._streaming = False
        """True from the start of a model call's message to its stop reason."""
        self._started = False
        self._stop: tuple[str, Any] | None = None

    @property
    def waits_for_tools(self) -> bool:
        """True if silence is no stall, because a tool is running."""
        return self._calls.running

    def feed(self, message: Mapping[str, Any]) -> list[StreamEvent]:
        """Events for the client after this message of the CLI; sets `outcome` at the end of the run."""
        if self.outcome is not None or message.get("parent_tool_use_id") is not None:
            return []
        match message.get("type"):
            case "stream_event":
                return self._event(message.get("event"))
            case "user":
                return self._results(message)
            case "result":
                return self._result(message)
        return []

    def ended(self) -> list[StreamEvent]:
        """Remaining events after the process has ended without a result."""
        return self._result(None)

    def time_is_up(self) -> list[StreamEvent]:
        """Remaining events of a run that has reached its wall-clock limit: the client may let it continue."""
        if not self._started:
            self.broken(out_of_time(self._agent))
            return []
        return self._end(PAUSED)

    def broken(self, error: ProxyError) -> None:
        """End the run with this error."""
        self._calls.abandon(error.message, at=self._clock())
        self.outcome = Broken(error=error, usage=self._counts.usage())

    def stopped(self) -> None:
        """End the run because `stop` was called."""
        self._calls.abandon(_CUT_OFF, at=self._clock())
        self.outcome = Stopped(usage=self._counts.usage())

    def _event(self, event: Any) -> list[StreamEvent]:
        if self._stop is not None and self._stop[0] in ENDING_REASONS:
            return []  # the relay refuses what the CLI asks the model after that
        kind = event.get("type") if isinstance(event, dict) else None
        if kind in ("message_start", "message_delta"):
            event, _ = clamp_event(event)
        if kind == "message_start":
            self._validator, self._indices = StreamValidator(), BlockIndices()
            self._shown.clear()
            self._call_ids.clear()
        event = self._indices.renumber(event)
        if not self._validator.accepts(event):
            self.broken(ProxyError(FailureKind.CONNECTION_LOST, "The upstream's stream is not a Messages API stream."))
            return []
        match kind:
            case "message_start":
                return self._message_start(event)
            case "content_block_start":
                return self._block_start(event)
            case "content_block_delta":
                return self._block_delta(event)
            case "content_block_stop":
                return self._block_stop(event)
            case "message_delta":
                return self._message_delta(event)
        return []

    def _message_start(self, event: StreamEvent) -> list[StreamEvent]:
        self._model_calls += 1
        self._stop = None
        self._streaming = True
        if self._started:
            return []
        self._started = True
        listed = [part for block in self._listing for part in self._whole_block(block)]
        return [{**event, "message": {**event["message"], "model": self._model}}, *listed]

    def _block_start(self, event: StreamEvent) -> list[StreamEvent]:
        block, index = event["content_block"], event["index"]
        if not self._is_shown(block):
            return []
        if block["type"] == "tool_use":
            self._call_ids[index] = block["id"]
            block = self._calls.begin(block)
            if not self._calls.shown:
                return []
        self._shown[index] = self._next_index
        self._next_index += 1
        return [{**event, "index": self._shown[index], "content_block": block}]

    def _block_delta(self, event: StreamEvent) -> list[StreamEvent]:
        index = event["index"]
        call_id = self._call_ids.get(index)
        if call_id is not None:
            self._calls.add_input(call_id, event["delta"].get("partial_json"))
            if not self._calls.shows_content:
                return []
        return self._at_clients_index(event, self._shown.get(index))

    def _block_stop(self, event: StreamEvent) -> list[StreamEvent]:
        call_id = self._call_ids.pop(event["index"], None)
        if call_id is not None:
            self._calls.start(call_id, number=self._model_calls, at=self._clock())
        return self._at_clients_index(event, self._shown.pop(event["index"], None))

    def _message_delta(self, event: StreamEvent) -> list[StreamEvent]:
        delta = event["delta"]
        reason = delta.get("stop_reason")
        if not isinstance(reason, str):
            return []
        self._stop = (reason, delta.get("stop_sequence"))
        self._streaming = False
        return self._release_held()

    def _results(self, message: Mapping[str, Any]) -> list[StreamEvent]:
        denied = denied_calls(message)
        for result in results_in(message):
            rejected = result.get("tool_use_id") in denied
            block = self._calls.finish(result, denied=rejected, at=self._clock())
            if block is not None and self._calls.shown:
                self._held.append(block)
        return self._release_held()

    def _result(self, result: Mapping[str, Any] | None) -> list[StreamEvent]:
        ending = ending_of(
            result,
            agent=self._agent,
            counts=self._counts,
            stop_reason=self._stop[0] if self._stop else "",
            started=self._started,
        )
        if isinstance(ending, ProxyError):
            self.broken(ending)
            return []
        events: list[StreamEvent] = []
        if ending != PAUSED and self._agent.output_schema is not None and result is not None:
            text = dumps(result.get("structured_output")).decode()
            events = self._whole_block({"type": "text", "text": text})
        return events + self._end(ending)

    def _end(self, reason: str) -> list[StreamEvent]:
        """Complete the client's message."""
        events: list[StreamEvent] = [{"type": "content_block_stop", "index": index} for index in self._shown.values()]
        self._shown.clear()
        self._streaming = False
        abandoned = self._calls.abandon(_CUT_OFF, at=self._clock())
        self._held += abandoned if self._calls.shown else []
        events += self._release_held()
        usage = self._counts.usage()
        self.outcome = Completed(stop_reason=reason, usage=usage)
        sequence = self._stop[1] if self._stop is not None and self._stop[0] == reason else None
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        return [
            *events,
            {"type": "message_delta", "delta": delta, "usage": usage_fields(usage)},
            {"type": "message_stop"},
        ]

    def _release_held(self) -> list[StreamEvent]:
        if self._streaming:
            return []
        held, self._held = self._held, []
        return [event for block in held for event in self._whole_block(block)]

    def _whole_block(self, block: dict[str, Any]) -> list[StreamEvent]:
        """Events of a block that has no deltas, or one of text."""
        index = self._next_index
        self._next_index += 1
        start, deltas = block, list[StreamEvent]()
        if block["type"] == "text":
            start = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
            deltas = [{"type": "content_block_delta", "index": index, "delta": delta}]
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *deltas,
            {"type": "content_block_stop", "index": index},
        ]

    def _at_clients_index(self, event: StreamEvent, index: int | None) -> list[StreamEvent]:
        return [] if index is None else [{**event, "index": index}]

    def _is_shown(self, block: Mapping[str, Any]) -> bool:
        """False for what an agent with an output schema says beside it, and for the tool that takes its answer."""
        if self._agent.output_schema is None:
            return True
        return block["type"] != "text" and not (block["type"] == "tool_use" and block["name"] == _STRUCTURED_OUTPUT)
