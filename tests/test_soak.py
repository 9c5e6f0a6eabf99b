"""The soak in its shortest form: a real gateway under more than it can do, and everything as it was afterwards."""

from collections import Counter
from pathlib import Path

import pytest

from apiproxy.core.turns import ENGINES, EngineName
from bench.soak.books import Books
from bench.soak.callers import Tally, queued_s
from bench.soak.mix import KINDS, TIMED, TOTAL, Mix
from bench.soak.play import Plan, play, slot_settings
from bench.soak.verdict import memory_line, missing_traces, times_line
from bench.soak.watch import Sample
from bench.stats import Line

pytestmark = pytest.mark.long

RATES: dict[EngineName, float] = {"sdk": 60.0, "http": 300.0}
SLOTS: dict[EngineName, int | None] = {"sdk": None, "http": 2}


def plan(engine: EngineName) -> Plan:
    return Plan(
        load_s=2.0,
        warm_requests=4,
        unloaded_requests=6,
        capacity_s=0.5,
        sample_s=1.0,
        pages=2,
        rate=RATES[engine],
        engine=engine,
        env={"CLAUDE_PROXY_QUEUE_MAX": "20", **slot_settings(engine, SLOTS[engine])},
    )


@pytest.mark.parametrize("engine", ENGINES)
async def test_answer_or_reject_correctly_under_overload(tmp_path: Path, engine: EngineName) -> None:
    lines: list[Line] = []
    said: list[str] = []

    right = await play(plan(engine), tmp_path, report=lines.append, say=said.append)

    verdict = lines[-1]
    answers = verdict["answers"]
    missed = {path: goal for path, goal in verdict["goals"].items() if not goal["met"]}
    assert right, (missed, answers["examples"], verdict["after"])
    assert answers["answered"] > 10
    assert answers["refused_529"] > 0, "it was not under load"
    assert answers["left"] > 0
    assert verdict["pages"]["messages"] > 0
    assert verdict["pages"]["closed"] == 0
    assert verdict["first_token"]["loaded"]["n"] > 5
    assert {line["soak"] for line in lines} == {"capacity", "sample", "verdict"}


def sample(at_s: float, **values: float) -> Sample:
    numbers = dict.fromkeys(Sample.__dataclass_fields__, 0) | {"at_s": at_s, "server_mb": 100.0, **values}
    return Sample(**numbers)  # type: ignore[arg-type]  # counts may be floats here


def books(**traces: int) -> Books:
    return Books(traces=traces, not_over=0, billed=0, used=0, reserved=0, errors={})


def tally(**sent: int) -> Tally:
    return Tally(counts=Counter({(kind, "answered"): count for kind, count in sent.items()}))


def test_report_memory_growth_but_not_warm_up() -> None:
    warm_up = [sample(at, server_mb=100.0 if at < 10 else 200.0) for at in range(40)]
    leak = [sample(at, server_mb=100.0 + at) for at in range(40)]

    assert memory_line(warm_up)["server_growth_percent"] == 0
    assert memory_line(leak)["server_growth_percent"] > 5


def test_books_must_have_a_trace_for_every_request_and_no_other() -> None:
    assert missing_traces(books(short=3, slow=1), tally(short=3, slow=1)) == {}
    assert missing_traces(books(short=2), tally(short=3, slow=1)) == {"short": 1, "slow": 1}
    assert missing_traces(books(short=4), tally(short=3)) == {"short": 1}


def test_trace_early_disconnect_at_most_once() -> None:
    assert missing_traces(books(), tally(leaves_soon=1)) == {}
    assert missing_traces(books(leaves_soon=2), tally(leaves_soon=1)) == {"leaves_soon": 1}


def test_times_are_compared_at_the_99th_percentile() -> None:
    line = times_line([0.01] * 100, [0.01] * 98 + [0.04] * 10)

    assert line["unloaded"] == {"median": 10, "p90": 10, "p99": 10, "max": 10, "n": 100}
    assert line["ratio_p99"] == 4
    assert line["late_p99"] == 0, "40 ms are soon enough"
    assert times_line([0.06] * 100, [0.2] * 100)["late_p99"] == 20
    assert times_line([], [0.01])["ratio_p99"] is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("queue;dur=12.5, worker;dur=1.0, first;dur=30.1", 0.0125), ("worker;dur=1", 0.0), ("", 0.0), (None, 0.0)],
)
def test_read_wait_for_slot_from_header(header: str | None, seconds: float) -> None:
    assert queued_s(header) == pytest.approx(seconds)


def test_repeat_mix_for_same_seed_with_every_kind() -> None:
    one, two = Mix(3), Mix(3)
    first, second = [one.next() for _ in range(TOTAL * 3)], [two.next() for _ in range(TOTAL * 3)]

    assert [request.body for request in first] == [request.body for request in second]
    assert {request.kind.name for request in first} == {kind.name for kind in KINDS}
    recovering = [request.body for request in first if request.kind.name == "recovers"]
    assert len(set(recovering)) == len(recovering), "each fails once, so each needs a key of its own"
    assert all(kind.ask(0).stream for kind in TIMED)


def test_requests_come_at_their_rate_on_average() -> None:
    mix = Mix(1)

    pauses = [mix.pause_s(50.0) for _ in range(20_000)]

    assert sum(pauses) / len(pauses) == pytest.approx(1 / 50, rel=0.03)
