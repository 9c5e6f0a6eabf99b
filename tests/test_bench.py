"""The benchmark's pure parts, its client against a server of a few lines, and one scenario's line."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import questions
from bench.__main__ import measured_line
from bench.client import Connections
from bench.contestants import HttpContestant, Took
from bench.load import Measured, Plan, run_load
from bench.measure import Entry, alternate, load
from bench.scenario import Scenario
from bench.scenarios import SCENARIOS
from bench.sse import BadAnswerError, dechunk, events_of, text_of_events
from bench.stage import Stage
from bench.stats import (
    Goal,
    Line,
    encode_line,
    finished_line,
    first_difference,
    median_and_p99,
    milliseconds,
    percentile,
    ratio,
)
from tests.upstream import Recorder, start

_NUMBERS = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [([3.0], 0.9, 3.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.5), ([1.0, 2.0], 1.0, 2.0), (list(range(11)), 0.9, 9.0)],
)
def test_put_percentile_between_its_neighbours(values: list[float], fraction: float, expected: float) -> None:
    assert percentile(values, fraction) == pytest.approx(expected)


@given(values=_NUMBERS, fraction=st.floats(0, 1))
def test_keep_percentile_within_values(values: list[float], fraction: float) -> None:
    assert min(values) <= percentile(values, fraction) <= max(values)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="0 values"):
        percentile([], 0.5)


def test_seconds_are_reported_as_milliseconds() -> None:
    assert milliseconds([0.001, 0.002, 0.003]) == {"median": 2.0, "p90": 2.8, "min": 1.0, "n": 3}


def test_give_no_ratio_over_nothing() -> None:
    assert ratio(1.0, 0.0) is None
    assert ratio(1.0, 3.0) == 0.33


@given(left=st.text(max_size=8), right=st.text(max_size=8))
def test_find_first_difference_after_common_start(left: str, right: str) -> None:
    at = first_difference(left, right)
    if at is None:
        assert left == right
    else:
        assert left[:at] == right[:at]
        assert left[at : at + 1] != right[at : at + 1]


def test_print_one_json_line_with_goal_result() -> None:
    goals = (
        Goal(path="ours.median", kind="at_most", limit=50),
        Goal(path="ratio", kind="at_least", limit=12),
        Goal(path="missing", kind="at_most", limit=1),
    )
    line = encode_line(finished_line("name", {"ours": {"median": 50}, "ratio": 11.9}, goals, {"cores": 2}))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "scenario": "name",
        "ours": {"median": 50},
        "ratio": 11.9,
        "goals": {
            "ours.median": {"at_most": 50, "met": True},
            "ratio": {"at_least": 12, "met": False},
            "missing": {"at_most": 1, "met": False},
        },
        "cores": 2,
    }


@given(parts=st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_chunks_are_put_together_to_the_byte(parts: list[bytes]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert dechunk(body) == b"".join(parts)


@pytest.mark.parametrize("body", [b"", b"x\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"0\r\n\r\nrest"])
def test_reject_body_that_is_not_exactly_chunked(body: bytes) -> None:
    with pytest.raises(BadAnswerError):
        dechunk(body)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b'event: ping\ndata: {"type":"ping"}\n\n',
        b"event: x\ndata: {no\n\n",
        b'event: error\ndata: {"type":"error"}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    ],
)
def test_reject_stream_without_end(stream: bytes) -> None:
    with pytest.raises(BadAnswerError):
        events_of(stream)


def test_reject_wrong_character_in_answer() -> None:
    question = questions.short(deltas=3)
    question.check("tok0 tok1 tok2 ")
    with pytest.raises(BadAnswerError, match="at 8"):
        question.check("tok0 tok2 tok2 ")
    with pytest.raises(BadAnswerError):
        question.check("tok0 tok1 tok2")


def test_flatten_conversation_like_gateways_over_query() -> None:
    flat = questions.tool_result().flat
    assert flat.startswith('Human: The weather in Paris?\n\nAssistant: {"city": "Paris"}\n\nHuman: 18 degrees.')
    assert questions.short().flat == questions.short().messages[0]["content"]
    assert questions.with_history(6).flat.count("Human: ") == 7


def test_explain_numbers_of_every_scenario() -> None:
    assert all(scenario.meaning for scenario in SCENARIOS.values())


async def test_report_failed_scenario_as_line_with_error(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    async def fails(stage: Stage) -> Line:
        async with asyncio.TaskGroup() as group:
            group.create_task(_raises(BadAnswerError("not what was asked for")))
        return {}

    monkeypatch.setitem(cast(dict[str, Scenario], SCENARIOS), "broken", Scenario(fails, "nothing"))
    line = await measured_line(cast(Stage, None), "broken")
    assert line["error"] == "BadAnswerError: not what was asked for"
    assert json.loads(capsysbinary.readouterr().out) == line


async def _raises(error: Exception) -> None:
    raise error


@asynccontextmanager
async def _asked_directly() -> AsyncIterator[tuple[HttpContestant, Recorder]]:
    recorder = Recorder()
    server = await start(recorder=recorder)
    contestant = HttpContestant(server.base_url)
    try:
        yield contestant, recorder
    finally:
        contestant.close()
        await server.close()


@pytest.mark.parametrize(
    "make",
    [
        questions.short,
        lambda: questions.short(stream=False),
        lambda: questions.short(deltas=5_000),
        lambda: questions.with_history(6),
        questions.tool_call,
        questions.tool_result,
    ],
)
async def test_answer_every_question_as_expected(make: Callable[[], questions.Question]) -> None:
    question = make()
    async with _asked_directly() as (contestant, _):
        took = await contestant.ask(question)
    assert took.total_s > 0
    assert (took.first_token_s is not None) == question.stream


async def test_measure_first_token_when_it_arrives() -> None:
    async with _asked_directly() as (contestant, _):
        took = await contestant.ask(questions.short(deltas=3, extra="[[gap=0.05]]"))
    assert took.first_token_s is not None
    assert took.total_s - took.first_token_s > 0.08


async def test_fail_on_error_of_server() -> None:
    async with _asked_directly() as (contestant, _):
        with pytest.raises(BadAnswerError, match="status 529"):
            await contestant.ask(questions.short(extra="[[status=529]]"))
        with pytest.raises(BadAnswerError, match="lost"):
            await contestant.ask(questions.short(extra="[[cut=5]]"))
        await contestant.ask(questions.short())


async def test_load_makes_so_many_requests_and_no_more() -> None:
    async with _asked_directly() as (contestant, recorder):
        elapsed_s = await load(lambda: contestant.ask(questions.short()), clients=8, requests=21)
        assert len(recorder.exchanges) == 21
    assert elapsed_s > 0


class _Counting:
    """A contestant that notes when it is asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    async def ask(self, question: questions.Question) -> Took:
        self._log.append(self._name)
        return Took(total_s=0.5)

    def cpu_s(self) -> dict[str, float]:
        return {"part": self._log.count(self._name) * 2.0}


async def test_alternate_contestants_and_separate_processor_time() -> None:
    log: list[str] = []

    def entry(name: str, times: int) -> Entry:
        contestant = _Counting(name, log)

        async def measurement() -> float:
            return (await contestant.ask(questions.short())).total_s

        return Entry(contestant=contestant, measurement=measurement, times=times)

    samples = await alternate({"a": entry("a", 1), "b": entry("b", 2)}, rounds=2)
    assert "".join(log) == "abbabb"
    assert samples["b"].values == [0.5] * 4
    assert samples["a"].cpu_ms_per_request() == samples["b"].cpu_ms_per_request() == {"part": 2000.0}


async def test_give_up_silent_server() -> None:
    async with _asked_directly() as (contestant, _):
        silent: Awaitable[Took] = contestant.ask(questions.short(extra="[[silent]]"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(silent, timeout=0.1)
        await contestant.ask(questions.short())


async def test_keep_connection_for_next_request() -> None:
    accepted = 0
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        while head := await reader.read(65_536):
            assert head.startswith(b"POST /v1/messages HTTP/1.1\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        connections = Connections(host, port)
        replies = [await connections.post("/v1/messages", b"{}", headers={"x-a": "b"}) for _ in range(3)]
        connections.close()
        await asyncio.wait_for(gone.wait(), timeout=5)
    assert [(reply.status, orjson.loads(reply.body)) for reply in replies] == [(200, {})] * 3
    assert accepted == 1


def test_include_arguments_of_tool_calls_in_text() -> None:
    deltas = [{"type": "text_delta", "text": "a"}, {"type": "input_json_delta", "partial_json": "{}"}]
    events = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    assert text_of_events(events) == "a{}"


@pytest.mark.parametrize("stream", [True, False])
async def test_load_process_checks_all_answers(stream: bool) -> None:
    measured = await _loaded(requests=9, clients=3, stream=stream)
    measured.check()
    assert (measured.answered, len(measured.total_s), measured.most_open) == (9, 9, 3)
    assert len(measured.first_s) == (9 if stream else 0)


async def test_load_process_spreads_the_starts() -> None:
    measured = await _loaded(requests=5, spread_s=0.2, deltas=4, gap_s=0.1)
    measured.check()
    assert measured.most_open == 5
    assert measured.elapsed_s >= 0.16 + 0.4
    assert max(measured.first_s) < 0.4


async def test_load_process_counts_missing_answers() -> None:
    measured = await _loaded(requests=2, clients=2, deltas=3, gap_s=30.0, limit_s=0.5)
    assert measured.answered == 0
    with pytest.raises(BadAnswerError, match="not answered within"):
        measured.check()


async def test_load_process_counts_wrong_answers() -> None:
    server = await start()
    try:
        measured = await run_load(Plan(base_url=server.base_url, headers={}, requests=2, path="/wrong"))
    finally:
        await server.close()
    assert sum(measured.wrong.values()) == 2
    with pytest.raises(BadAnswerError, match="2 wrong answers, 1 of them: BadAnswerError: status 404"):
        measured.check()


def test_sum_the_results_of_loads() -> None:
    measured = Measured(first_s=[1.0], total_s=[2.0], elapsed_s=3.0, answered=1, wrong={"a": 1})
    measured.add(Measured(first_s=[4.0], total_s=[5.0], elapsed_s=6.0, most_open=2, answered=1, wrong={"a": 1}))
    assert measured.first_s == [1.0, 4.0]
    assert (measured.elapsed_s, measured.most_open, measured.answered, measured.wrong) == (9.0, 2, 2, {"a": 2})
    assert median_and_p99(measured.first_s) == {"median": 2500.0, "p99": 3970.0, "n": 2}


async def _loaded(**options: object) -> Measured:
    server = await start()
    try:
        return await run_load(Plan(base_url=server.base_url, headers={}, **options))  # type: ignore[arg-type]  # by name
    finally:
        await server.close()
