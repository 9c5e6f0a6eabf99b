"""Translation of recorded runs: the CLI's messages with the bundled version, cut down to the fields in use."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apiproxy.core.agents import AgentSpec, McpServerSpec, ToolCallDisplay
from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.events import Iteration, Step, StepKind, StreamEvent, Usage
from apiproxy.core.message import MessageFold
from apiproxy.engines.agents.translation import Translation
from apiproxy.engines.base import Broken, Completed, Stopped
from apiproxy.engines.stream.validation import StreamValidator

RECORDED = Path(__file__).parent / "recorded"
USAGE = Usage(
    input_tokens=60,
    output_tokens=40,
    cache_creation_input_tokens=14,
    iterations=(
        Iteration(type="message", model="claude-sonnet-4-5", input_tokens=20, output_tokens=20),
        Iteration(type="message", model="claude-sonnet-4-5", input_tokens=40, output_tokens=20),
    ),
)


@dataclass
class Counts:
    exhausted: str = ""
    upstream_error: ProxyError | None = None

    def usage(self) -> Usage:
        return USAGE


@dataclass
class Played:
    translation: Translation
    events: list[StreamEvent]
    steps: list[Step] = field(default_factory=list)

    @property
    def message(self) -> dict[str, Any]:
        fold = MessageFold()
        fold.add(self.events)
        return fold.message

    @property
    def texts(self) -> list[str]:
        return [block["text"] for block in self.message["content"] if block["type"] == "text"]


def recording(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text().splitlines()]


def agent(**fields: Any) -> AgentSpec:
    server = McpServerSpec(name="db", transport="stdio", command="db")
    return AgentSpec(
        slug="bot", version=3, display_name="Bot", model="claude-sonnet-4-5", mcp_servers=(server,), **fields
    )


def play(
    name: str,
    *,
    spec: AgentSpec | None = None,
    counts: Counts | None = None,
    stop_before: Callable[[dict[str, Any]], bool] = lambda _: False,
) -> Played:
    """Feed a recording, up to the first message that `stop_before` matches, and check the events."""
    steps: list[Step] = []
    ticks = iter(range(10_000))
    translation = Translation(
        spec or agent(), model="bot", counts=counts or Counts(), on_step=steps.append, clock=lambda: float(next(ticks))
    )
    events: list[StreamEvent] = []
    for message in recording(name):
        if stop_before(message):
            break
        events += translation.feed(message)
    validator = StreamValidator()
    assert all(validator.accepts(event) for event in events)
    return Played(translation, events, steps)


def blocks(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] == kind]


def test_join_model_calls_into_one_message() -> None:
    played = play("parallel_calls")

    assert [event["type"] for event in played.events].count("message_start") == 1
    assert [block["type"] for block in played.message["content"]] == [
        "thinking",
        "text",
        *["mcp_tool_use"] * 6,
        *["mcp_tool_result"] * 6,
        "text",
    ]
    assert played.message["model"] == "bot"
    assert played.message["stop_reason"] == "end_turn"
    assert played.texts == ["I look", "all done"]
    assert played.translation.outcome == Completed(stop_reason="end_turn", usage=USAGE)


def test_report_usage_of_run_with_iterations() -> None:
    usage = play("parallel_calls").message["usage"]

    assert (usage["input_tokens"], usage["output_tokens"]) == (60, 40)
    assert [entry["input_tokens"] for entry in usage["iterations"]] == [20, 40]
    assert usage["iterations"][0]["type"] == "message"
    assert usage["iterations"][0]["model"] == "claude-sonnet-4-5"


def test_name_server_and_tool_of_calls() -> None:
    calls = blocks(play("parallel_calls").message, "mcp_tool_use")

    assert [(call["server_name"], call["name"]) for call in calls] == [
        ("db", "lookup"),
        ("agent", "Bash"),
        ("db", "pic"),
        ("db", "bad"),
        ("agent", "Read"),
        ("agent", "nope"),
    ]
    assert calls[0]["input"] == {"n": 21}


def test_match_results_by_id() -> None:
    message = play("parallel_calls").message
    ids = {call["name"]: call["id"] for call in blocks(message, "mcp_tool_use")}
    results = {result["tool_use_id"]: result for result in blocks(message, "mcp_tool_result")}

    assert results[ids["lookup"]]["content"] == [{"type": "text", "text": '{"result":42}'}]
    assert results[ids["pic"]]["content"][0]["type"] == "image"
    assert results[ids["bad"]]["is_error"] is True
    assert results[ids["Bash"]]["is_error"] is False


def test_time_tool_calls_as_steps() -> None:
    steps = play("parallel_calls").steps
    ended = {step.name: step for step in steps if step.ended_at is not None}

    assert len(steps) == 12
    assert ended["db/lookup"].arguments == {"n": 21}
    assert ended["db/lookup"].number == 1
    assert ended["db/bad"].failed
    assert ended["db/bad"].error == "Error executing tool bad"
    assert ended["agent/Read"].kind is StepKind.DENIED
    assert all(step.ended_at > step.started_at for step in ended.values() if step.ended_at is not None)


def test_hide_contents_of_calls() -> None:
    message = play("parallel_calls", spec=agent(show_tool_calls="names")).message

    assert {json.dumps(call["input"]) for call in blocks(message, "mcp_tool_use")} == {"{}"}
    assert {json.dumps(result["content"]) for result in blocks(message, "mcp_tool_result")} == {"[]"}


def test_hide_calls() -> None:
    played = play("parallel_calls", spec=agent(show_tool_calls="none"))

    assert [block["type"] for block in played.message["content"]] == ["thinking", "text", "text"]
    assert len(played.steps) == 12


@pytest.mark.parametrize("display", ["all", "names", "none"])
@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.jsonl")))
def test_give_every_recording_an_outcome(name: str, display: ToolCallDisplay) -> None:
    assert play(name, spec=agent(show_tool_calls=display)).translation.outcome is not None


def test_end_at_max_tokens_instead_of_continuing() -> None:
    played = play("max_tokens")

    assert played.texts == ["one two"]
    assert played.message["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(("name", "reason"), [("refusal", "refusal"), ("pause_turn", "pause_turn")])
def test_pass_stop_reason_of_last_call(name: str, reason: str) -> None:
    assert play(name).message["stop_reason"] == reason


def test_not_show_injected_user_text() -> None:
    played = play("empty_text")

    assert isinstance(played.translation.outcome, Completed)
    assert "no visible output" not in json.dumps(played.events)


def test_emit_structured_output_as_text() -> None:
    played = play("schema", spec=agent(output_schema={"type": "object"}))

    assert played.texts == ['{"a":5}']
    assert [block["type"] for block in played.message["content"]] == ["text"]
    assert played.message["stop_reason"] == "end_turn"


def test_fail_when_schema_is_not_met() -> None:
    outcome = play("schema_not_met", spec=agent(output_schema={"type": "object"})).translation.outcome

    assert isinstance(outcome, Broken)
    assert outcome.error.kind is FailureKind.AGENT_OUTPUT
    assert "bot" in outcome.error.message


def test_pause_when_calls_are_exhausted() -> None:
    played = play("upstream_error", counts=Counts(exhausted="calls"))

    assert played.message["stop_reason"] == "pause_turn"
    assert len(blocks(played.message, "mcp_tool_result")) == 1


def test_pause_after_clis_own_limit() -> None:
    assert play("max_turns").message["stop_reason"] == "pause_turn"


def test_fail_when_budget_is_exhausted() -> None:
    outcome = play(
        "upstream_error", spec=agent(budget_usd=Decimal("0.5")), counts=Counts(exhausted="budget")
    ).translation.outcome

    assert isinstance(outcome, Broken)
    assert outcome.error.kind is FailureKind.AGENT_BUDGET
    assert outcome.error.message == "The run of the agent bot has reached its budget of 0.5 USD."
    assert outcome.usage == USAGE


def test_pass_upstreams_exact_error() -> None:
    error = ProxyError(FailureKind.UPSTREAM_ERROR, "busy", upstream=UpstreamError(529, "overloaded_error"))
    outcome = play("upstream_error", counts=Counts(upstream_error=error)).translation.outcome

    assert outcome == Broken(error=error, usage=USAGE)


@pytest.mark.parametrize("name", ["cut_stream", "error_in_stream", "upstream_error"])
def test_fail_without_error_from_relay(name: str) -> None:
    outcome = play(name).translation.outcome

    assert isinstance(outcome, Broken)
    assert outcome.error.kind is FailureKind.CONNECTION_LOST


def test_pause_when_time_is_up() -> None:
    played = play("interrupt", stop_before=lambda message: message["type"] == "user")
    played.events += played.translation.time_is_up()

    (result,) = blocks(played.message, "mcp_tool_result")
    assert result["is_error"] is True
    assert played.message["stop_reason"] == "pause_turn"
    assert played.steps[-1].failed


def test_close_open_block_when_time_is_up() -> None:
    played = play("max_tokens", stop_before=lambda message: message["type"] == "assistant")
    played.events += played.translation.time_is_up()

    assert played.texts == ["one two"]
    assert played.events[-3]["type"] == "content_block_stop"


def test_fail_when_time_is_up_before_answer() -> None:
    played = play("max_tokens", stop_before=lambda message: message["type"] == "stream_event")

    assert played.translation.time_is_up() == []
    assert isinstance(played.translation.outcome, Broken)
    assert played.translation.outcome.error.kind is FailureKind.MAX_DURATION


def test_fail_when_process_dies() -> None:
    played = play("interrupt", stop_before=lambda message: message["type"] == "user")

    assert played.translation.waits_for_tools
    assert played.translation.ended() == []
    assert isinstance(played.translation.outcome, Broken)
    assert played.translation.outcome.error.kind is FailureKind.WORKER_DIED


def test_stop_with_usage_so_far() -> None:
    played = play("interrupt", stop_before=lambda message: message["type"] == "user")
    played.translation.stopped()

    assert played.translation.outcome == Stopped(usage=USAGE)
    assert played.steps[-1].ended_at is not None


def test_show_early_results_after_their_model_call() -> None:
    messages = recording("parallel_calls")
    early = next(message for message in messages if message["type"] == "user")
    messages.remove(early)
    stops = [at for at, it in enumerate(messages) if it.get("event", {}).get("type") == "content_block_stop"]
    messages.insert(stops[2] + 2, early)  # after the start of the block that follows the call
    translation = Translation(agent(), model="bot", counts=Counts(), on_step=lambda _: None, clock=lambda: 0.0)
    fold = MessageFold()
    fold.add(event for message in messages for event in translation.feed(message))

    kinds = [block["type"] for block in fold.message["content"]]
    assert kinds[2:14] == ["mcp_tool_use"] * 6 + ["mcp_tool_result"] * 6


def test_fail_when_budget_cut_answer_off() -> None:
    outcome = play("max_tokens", counts=Counts(exhausted="budget")).translation.outcome

    assert isinstance(outcome, Broken)
    assert outcome.error.kind is FailureKind.AGENT_BUDGET


def test_break_on_invalid_stream() -> None:
    translation = Translation(agent(), model="bot", counts=Counts(), on_step=lambda _: None, clock=lambda: 0.0)

    assert translation.feed({"type": "stream_event", "event": {"type": "content_block_stop", "index": 4}}) == []
    assert isinstance(translation.outcome, Broken)
