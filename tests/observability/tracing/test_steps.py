"""Steps of an agent in memory: counted, in order, and bounded whatever the agent does."""

import json
import time
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Retrying, Step, StepKind, Stepped
from observability.tracing.steps import (
    CUT,
    MAX_CONTENT_CHARS,
    MAX_RUN_CONTENT_CHARS,
    MAX_STEPS,
    StepLog,
)
from tests.observability.builders import NOW, agent_steps, draft_of, make_agent_turn, make_turn, opening, step


def log_of(*events: Any, keep_content: bool = True) -> StepLog:
    log = StepLog(keep_content=keep_content)
    for event in events:
        log.add(event.step)
    return log


def tool(number: int, **changes: Any) -> Stepped:
    return step(f"t{number}", StepKind.TOOL_CALL, "handbook/search", at=NOW + number, **changes)


def test_keep_steps_in_order_of_their_beginning() -> None:
    log = log_of(*agent_steps())
    assert [(found.id, found.failed) for found in log.steps()] == [
        ("m1", False), ("t1", False), ("t2", True), ("m2", False),
    ]  # fmt: skip
    assert (log.model_calls, log.tool_calls, log.omitted) == (2, 2, 0)
    assert log.usage.cost_usd == pytest.approx(0.02)
    first = log.steps()[1]
    assert (first.arguments, first.result) == (
        {"query": "opening hours"}, [{"type": "text", "text": "From 9 to 5"}],
    )  # fmt: skip


def test_say_what_the_agent_does_now() -> None:
    events = agent_steps()
    assert log_of().progress().call == 0
    during_model = log_of(*events[:1]).progress()
    assert (during_model.call, during_model.kind, during_model.name) == (1, "model_call", "claude-sonnet-5")
    during_tools = log_of(*events[:4]).progress()
    assert (during_tools.kind, during_tools.name, during_tools.parallel) == ("tool_call", "tickets/note", 2)
    assert during_tools.cost_usd == pytest.approx(0.01)
    after = log_of(*events).progress()
    assert (after.call, after.kind, after.parallel, after.changes) == (2, "", 0, 8)


def test_drop_content_of_keys_that_store_no_bodies() -> None:
    assert all(found.arguments is found.result is None for found in log_of(*agent_steps(), keep_content=False).steps())


def test_keep_first_steps_and_count_the_others() -> None:
    begun = [tool(number) for number in range(MAX_STEPS + 7)]
    ended = [tool(number, length_s=1) for number in range(MAX_STEPS + 7)]
    log = log_of(*(event for pair in zip(begun, ended, strict=True) for event in pair))
    assert (len(log.steps()), log.omitted, log.tool_calls) == (MAX_STEPS, 7, MAX_STEPS + 7)
    assert log.progress().parallel == 0


def test_ignore_second_ending_of_a_step() -> None:
    log = log_of(tool(1), tool(1, length_s=1), tool(1, length_s=5, failed=True))
    (found,) = log.steps()
    assert (found.ended_at, found.failed, log.tool_calls) == (NOW + 2, False, 1)


def test_count_step_whose_beginning_was_not_seen() -> None:
    log = log_of(tool(1, length_s=1))
    assert (len(log.steps()), log.tool_calls, log.progress().parallel) == (1, 1, 0)


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["x" * 10**7, [1] * 10**6, {str(n): n for n in range(10**5)}, deep(5_000), 10**4_000, [["a"] * 9] * 10**5],
    ids=["text", "list", "mapping", "deep", "integer", "nested"],
)  # fmt: skip
def test_bound_size_of_any_argument(value: Any) -> None:
    begun = time.monotonic()
    (found,) = log_of(tool(1, arguments=value, result=value, length_s=1)).steps()
    assert time.monotonic() - begun < 0.5
    for kept in (found.arguments, found.result):
        assert len(json.dumps(kept, allow_nan=False)) < 2 * MAX_CONTENT_CHARS
        assert CUT in json.dumps(kept)


def test_bound_names_of_arguments() -> None:
    (found,) = log_of(tool(1, arguments={"k" * 10**6: 1})).steps()
    assert list(found.arguments) == ["k" * 200]


def test_bound_content_of_all_steps_together() -> None:
    log = log_of(*(tool(number, arguments="x" * MAX_CONTENT_CHARS) for number in range(100)))
    sizes = [len(found.arguments) for found in log.steps()]
    assert MAX_RUN_CONTENT_CHARS * 0.9 < sum(sizes) < MAX_RUN_CONTENT_CHARS * 1.1
    assert sizes[-1] == len(CUT)
    assert log.size_bytes < MAX_RUN_CONTENT_CHARS * 1.2


def test_replace_binary_content_by_its_size() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 5_000}}
    (found,) = log_of(tool(1, arguments={"of": float("nan")}, result=[image], length_s=1)).steps()
    assert found.result[0]["source"]["data"] == "[5,000 characters]"
    assert found.arguments == {"of": "nan"}


def test_bound_names_ids_and_errors() -> None:
    wild = Step(
        id="i" * 900, kind=StepKind.TOOL_CALL, name="n" * 900, number=1, started_at=NOW, ended_at=NOW + 1,
        failed=True, error="e" * 9_000, parent_id="p" * 900,
    )  # fmt: skip
    (found,) = log_of(Stepped(NOW, wild)).steps()
    assert (len(found.id), len(found.name), len(found.error), len(found.parent_id)) == (64, 200, 1_000, 64)


def test_end_open_steps_of_a_lost_attempt() -> None:
    lost = Retrying(NOW + 9, ProxyError(FailureKind.WORKER_DIED, "The worker died."))
    draft = draft_of(make_agent_turn(), [*opening(), *agent_steps()[:3], lost])
    assert draft.steps is not None
    model, search = draft.steps.steps()
    assert not model.failed
    assert (search.failed, search.error, search.ended_at) == (True, "attempt_lost", NOW + 9)


def test_keep_steps_of_both_attempts_under_one_id() -> None:
    lost = Retrying(NOW + 9, ProxyError(FailureKind.WORKER_DIED, "The worker died."))
    draft = draft_of(
        make_agent_turn(), [*opening(), *agent_steps(), lost, *agent_steps(NOW + 10), lost, *agent_steps()]
    )
    assert draft.steps is not None
    assert [found.id for found in draft.steps.steps()][::4] == ["m1", "2:m1", "3:m1"]
    assert (draft.steps.model_calls, draft.steps.tool_calls) == (6, 6)


def test_leave_out_model_calls_that_the_upstream_refused() -> None:
    model = StepKind.MODEL_CALL
    events = [
        step("m1", model, "claude-sonnet-5", at=NOW),
        step("m1", model, "claude-sonnet-5", at=NOW, length_s=1, failed=True, error="Overloaded"),
        step("m2", model, "claude-sonnet-5", at=NOW + 2),
    ]
    assert log_of(*events).model_calls == 1


def test_ignore_steps_of_a_turn_without_agent() -> None:
    assert draft_of(make_turn(), [*opening(), *agent_steps()]).steps is None
