"""Counts and limits of a run."""

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.events import StepKind, Usage
from apiproxy.core.prices import NO_PRICES
from apiproxy.engines.agents.model_call import ModelCall
from apiproxy.engines.agents.model_request import CallRefusedError
from tests.engines.agents.support import MODEL, Metered, body, metered, request_of

OVERLOADED = ProxyError(FailureKind.UPSTREAM_ERROR, "Overloaded", upstream=UpstreamError(529, "overloaded_error"))
LOST = ProxyError(FailureKind.CONNECTION_LOST, "lost")


def frames(usage: dict[str, int], *, text: str = "hi", stop: str | None = "end_turn") -> bytes:
    """A stream; cut off before its end without a stop reason."""
    start = {"id": "msg_1", "model": MODEL, "usage": {**usage, "output_tokens": 1}}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
    ]
    if stop is not None:
        events += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage},
            {"type": "message_stop"},
        ]
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


def played(run: Metered, usage: dict[str, int], *, stop: str = "tool_use", prompt: str = "hello") -> ModelCall:
    call = run.meter.admit(request_of(body(prompt)))
    call.sent()
    call.received(frames(usage, stop=stop))
    call.end()
    return call


def test_sum_calls_with_an_iteration_each() -> None:
    run = metered()
    played(run, {"input_tokens": 100, "output_tokens": 10})
    played(run, {"input_tokens": 200, "output_tokens": 20, "cache_read_input_tokens": 5}, stop="end_turn")

    usage = run.meter.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (300, 30, 5)
    assert [(entry.type, entry.model, entry.input_tokens) for entry in usage.iterations] == [
        ("message", MODEL, 100),
        ("message", MODEL, 200),
    ]
    assert usage.cost_usd == pytest.approx((300 * 3 + 30 * 15 + 5 * 0.3) / 1e6)
    assert not usage.estimated
    assert run.meter.calls == 2
    assert run.meter.last_stop_reason == "end_turn"
    assert run.sent == [True]


def test_report_each_call_as_a_step() -> None:
    run = metered()
    played(run, {"input_tokens": 100, "output_tokens": 10})

    begun, ended = run.steps
    assert (begun.kind, begun.id, begun.number, begun.ended_at) == (StepKind.MODEL_CALL, "model_1", 1, None)
    assert ended.id == begun.id
    assert ended.ended_at is not None
    assert ended.usage is not None
    assert ended.usage.cost_usd is not None


def test_refuse_more_calls_than_allowed() -> None:
    run = metered(max_calls=2)
    for _ in range(2):
        played(run, {"input_tokens": 1, "output_tokens": 1})

    with pytest.raises(CallRefusedError) as refused:
        run.meter.admit(request_of(body()))
    assert refused.value.kind == "calls"
    assert run.meter.exhausted == "calls"


def test_count_calls_under_way() -> None:
    run = metered(max_calls=2)
    run.meter.admit(request_of(body()))
    run.meter.admit(request_of(body()))

    with pytest.raises(CallRefusedError):
        run.meter.admit(request_of(body()))


def test_lower_max_tokens_to_the_rest_of_the_budget() -> None:
    run = metered(budget_usd=Decimal("0.05"))
    call = run.meter.admit(request_of(body(max_tokens=32_000)))

    assert call.lowered
    assert 1_024 <= call.body["max_tokens"] < 3_334
    assert call.held <= 50_000


def test_lower_thinking_with_max_tokens() -> None:
    run = metered(budget_usd=Decimal("0.05"))
    thinking = {"type": "enabled", "budget_tokens": 20_000}
    call = run.meter.admit(request_of(body(max_tokens=32_000, thinking=thinking)))

    assert 1_024 <= call.body["thinking"]["budget_tokens"] < call.body["max_tokens"]


def test_refuse_call_beyond_the_budget() -> None:
    run = metered(budget_usd=Decimal("0.05"))
    played(run, {"input_tokens": 10_000, "output_tokens": 1_000})  # 0.045 USD

    with pytest.raises(CallRefusedError) as refused:
        run.meter.admit(request_of(body()))
    assert refused.value.kind == "budget"
    assert run.meter.exhausted == "budget"


def test_end_of_lowered_answer_exhausts_the_budget() -> None:
    run = metered(budget_usd=Decimal("0.05"))
    call = run.meter.admit(request_of(body(max_tokens=32_000)))
    call.sent()
    call.received(frames({"input_tokens": 10, "output_tokens": call.max_tokens}, stop="max_tokens"))
    call.end()

    assert run.meter.exhausted == "budget"


def test_refuse_model_without_price_if_there_is_a_budget() -> None:
    run = metered(NO_PRICES, budget_usd=Decimal(1))

    with pytest.raises(CallRefusedError) as refused:
        run.meter.admit(request_of(body(), prices=NO_PRICES))
    assert refused.value.kind == "budget"


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded", "refusal"])
def test_refuse_hidden_continuation(reason: str) -> None:
    run = metered()
    played(run, {"input_tokens": 1, "output_tokens": 1}, stop=reason)

    with pytest.raises(CallRefusedError) as refused:
        run.meter.admit(request_of(body()))
    assert refused.value.kind == "over"
    assert run.meter.last_stop_reason == reason
    assert run.meter.exhausted == ""


def test_estimate_call_that_was_cut_off() -> None:
    run = metered()
    call = run.meter.admit(request_of(body("x" * 1_000)))
    call.sent()
    call.received(frames({"input_tokens": 50}, text="y" * 600, stop=None))
    call.close()

    usage = run.meter.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (50, 300, True)


def test_estimate_input_of_call_without_usage() -> None:
    run = metered()
    call = run.meter.admit(request_of(body("x" * 1_000)))
    call.sent()
    call.lost(LOST, unsent=False)

    usage = run.meter.usage()
    assert usage.input_tokens > 1_000
    assert usage.estimated
    assert run.meter.upstream_error is LOST


def test_charge_nothing_for_call_that_was_not_sent() -> None:
    run = metered()
    run.meter.admit(request_of(body())).lost(LOST, unsent=True)
    run.meter.admit(request_of(body())).close()

    assert run.meter.usage() == Usage()
    assert run.meter.calls == 0


def test_report_retry_of_rejected_call() -> None:
    run = metered()
    call = run.meter.admit(request_of(body()))
    call.sent()
    call.rejected(OVERLOADED)
    assert run.meter.upstream_error is OVERLOADED
    played(run, {"input_tokens": 1, "output_tokens": 1})

    assert run.meter.calls == 1
    assert run.meter.upstream_error is None
    kinds = [(step.kind, step.number, step.failed) for step in run.steps if step.ended_at is not None]
    assert kinds == [
        (StepKind.MODEL_CALL, 1, True),
        (StepKind.RETRY, 1, False),
        (StepKind.MODEL_CALL, 1, False),
    ]


def test_bound_attempts_that_fail() -> None:
    run = metered(max_calls=2)
    for _ in range(6):
        run.meter.admit(request_of(body())).rejected(OVERLOADED)

    with pytest.raises(CallRefusedError):
        run.meter.admit(request_of(body()))


@given(
    budget=st.integers(0, 200_000),
    calls=st.lists(
        st.tuples(
            st.integers(1, 3_000),  # bytes of the prompt
            st.integers(1, 20_000),  # max_tokens
            st.floats(0, 1),  # share of the prompt that is input
            st.sampled_from(["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]),
            st.floats(0, 1),  # share of max_tokens
            st.sampled_from(["ends", "cut", "lost", "runs on"]),
        ),
        max_size=12,
    ),
)
def test_cost_never_exceeds_the_budget(budget: int, calls: list[tuple[int, int, float, str, float, str]]) -> None:
    run = metered(budget_usd=Decimal(budget) / 1_000_000, max_calls=100)
    left: list[ModelCall] = []
    for size, max_tokens, share, count, written, fate in calls:
        request = request_of(body("x" * size, max_tokens=max_tokens))
        try:
            call = run.meter.admit(request)
        except CallRefusedError:
            continue
        call.sent()
        usage = {count: int(request.input.prompt_tokens * share), "output_tokens": int(call.max_tokens * written)}
        match fate:
            case "ends":
                call.received(frames(usage, stop="tool_use"))
                call.end()
            case "cut":
                call.received(frames(usage, text="z" * (2 * usage["output_tokens"]), stop=None))
                call.close()
            case "lost":
                call.lost(LOST, unsent=False)
            case _:
                left.append(call)
    for call in left:
        call.close()

    assert run.meter.exhausted in ("", "budget")
    cost = run.meter.usage().cost_usd or 0
    assert cost * 1_000_000 <= budget
    assert run.meter.spent_micro_usd <= budget
