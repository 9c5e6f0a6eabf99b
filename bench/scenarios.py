"""The scenarios. Each gives its line; a wrong answer is an error, and a number that misses its goal is not."""

import asyncio
from collections.abc import Callable, Mapping

from bench import questions
from bench.contestants import Contestant
from bench.dashboards import dashboards
from bench.engines import ENGINE_SCENARIOS
from bench.gateways import CLIENTS, gateway_for
from bench.measure import Entry, Measurement, Samples, alternate, first_token_of, first_token_s, load, total_of
from bench.memory import memory_mb, peak_of_new_children_mb
from bench.openai import openai_dialect
from bench.questions import Question
from bench.scenario import Scenario
from bench.stage import Stage
from bench.stats import Goal, Line, milliseconds, percentile, ratio
from bench.variants import postgres, tracing

_HISTORY_TURNS = 6
_MAX_TOKENS_CLIENTS = 2
_MAX_TOKENS_QUERIES = 3
_HIDDEN_CALL_WAIT_S = 2.0
"""How long a hidden second call may be in coming: it follows within milliseconds of the first."""


async def first_token_sequential(stage: Stage) -> Line:
    """One question after the other."""
    return await _first_token(stage, questions.short())


async def first_token_6_turns(stage: Stage) -> Line:
    """A question with six earlier turns."""
    return await _first_token(stage, questions.with_history(_HISTORY_TURNS))


async def first_token_tool_loop(stage: Stage) -> Line:
    """A question, the tool call that answers it, and the tool's result: until the first token of the final answer."""
    call, result = questions.tool_call(), questions.tool_result()

    def loop_of(contestant: Contestant) -> Measurement:
        async def loop() -> float:
            called = await contestant.ask(call)
            return called.total_s + first_token_s(await contestant.ask(result))

        return loop

    return await _compare_latency(stage, loop_of, requests=2)


async def requests_per_s_8_clients(stage: Stage) -> Line:
    """Eight clients, each asking again as soon as it has its answer, in one piece."""
    return await _requests_per_s(stage, questions.short(stream=False))


async def requests_per_s_8_clients_stream(stage: Stage) -> Line:
    """The same with streamed answers."""
    return await _requests_per_s(stage, questions.short())


async def events_per_s(stage: Stage) -> Line:
    """One long stream: deltas by the seconds from the request to the end of the answer."""
    sizes = stage.sizes
    question = questions.short(deltas=sizes.stream_deltas)
    entries = {
        name: Entry(contestant=contestant, measurement=total_of(contestant, question), times=1)
        for name, contestant in _contestants(stage).items()
    }
    samples = await alternate(entries, rounds=sizes.stream_rounds)
    rates = {name: sizes.stream_deltas / percentile(taken.values, 0.5) for name, taken in samples.items()}
    sides = {
        name: {
            "median": round(rates[name]),
            "max": round(sizes.stream_deltas / min(taken.values)),
            "n": len(taken.values),
            "cpu_ms_per_stream": taken.cpu_ms_per_request(),
        }
        for name, taken in samples.items()
    }
    return {
        "unit": "events/s",
        "deltas": sizes.stream_deltas,
        **sides,
        "ratio_ours_over_query": ratio(rates["ours"], rates["query"]),
        "ratio_direct_over_ours": ratio(rates["direct"], rates["ours"]),
    }


async def added_delay(stage: Stage) -> Line:
    """Delay that the gateway adds to the stand-in: difference of medians, for a stream and a whole answer."""
    stream, plain = questions.short(), questions.short(stream=False)
    added: Line = {"unit": "ms"}
    kinds: dict[str, Callable[[Contestant], Measurement]] = {
        "stream_first_token": lambda contestant: first_token_of(contestant, stream),
        "stream_complete": lambda contestant: total_of(contestant, stream),
        "plain_complete": lambda contestant: total_of(contestant, plain),
    }
    for kind, measurement_of in kinds.items():
        sides: dict[str, Contestant] = {"ours": stage.ours, "direct": stage.direct}
        samples = await _latencies(stage, sides, measurement_of)
        numbers = {name: milliseconds(taken.values) for name, taken in samples.items()}
        added[kind] = {**numbers, "added": round(numbers["ours"]["median"] - numbers["direct"]["median"], 2)}
    return added


async def max_tokens_no_second_call(stage: Stage) -> Line:
    """Answers that stop at max_tokens: how often the upstream is asked for each."""
    question = questions.short(extra="[[stop=max_tokens]]")
    mark = await asyncio.to_thread(stage.stand_in.mark)
    turns = stage.sizes.max_tokens_turns
    elapsed_s = await load(lambda: stage.ours.ask(question), clients=_MAX_TOKENS_CLIENTS, requests=turns)
    await asyncio.sleep(_HIDDEN_CALL_WAIT_S)
    calls = await asyncio.to_thread(stage.upstream_calls, since=mark)
    mark = await asyncio.to_thread(stage.stand_in.mark)
    for _ in range(_MAX_TOKENS_QUERIES):
        await stage.query.ask_unchecked(question)
    query_calls = await asyncio.to_thread(stage.upstream_calls, since=mark)
    return {
        "unit": "upstream calls",
        "ours": {"turns": turns, "calls": calls, "hidden_calls": calls - turns, "seconds": round(elapsed_s, 1)},
        "query": {
            "turns": _MAX_TOKENS_QUERIES,
            "calls": query_calls,
            "hidden_calls": query_calls - _MAX_TOKENS_QUERIES,
        },
    }


async def memory(stage: Stage) -> Line:
    """Resident memory after some load: of the gateway and its workers, and of one process of `query()`."""
    requests = stage.sizes.memory_requests
    await load(lambda: stage.ours.ask(questions.short()), clients=CLIENTS, requests=requests)
    one = await peak_of_new_children_mb(stage.query.ask(questions.short(extra="[[first=0.5]]")))
    gateway = await asyncio.to_thread(memory_mb, stage.gateway.pid)
    return {"unit": "MB", "after_requests": requests, "ours": gateway, "query": {"for_each_request": one}}


SCENARIOS: Mapping[str, Scenario] = {
    "first_token_sequential": Scenario(
        first_token_sequential,
        "milliseconds to the first token",
        (
            Goal(path="added_over_direct", kind="at_most", limit=50),
            Goal(path="ratio_query_over_ours", kind="at_least", limit=12),
        ),
    ),
    "first_token_6_turns": Scenario(first_token_6_turns, "the same with six earlier turns in the request"),
    "first_token_tool_loop": Scenario(
        first_token_tool_loop, "from the question over the tool call to the first token of the final answer"
    ),
    "requests_per_s_8_clients": Scenario(
        requests_per_s_8_clients,
        "requests per second, answers in one piece",
        (Goal(path="ratio_ours_over_query", kind="at_least", limit=10),),
    ),
    "requests_per_s_8_clients_stream": Scenario(
        requests_per_s_8_clients_stream,
        "requests per second, answers streamed",
        (Goal(path="ratio_ours_over_query", kind="at_least", limit=10),),
    ),
    "events_per_s": Scenario(
        events_per_s,
        "events per second of one long stream, request and end included",
        (Goal(path="ours.median", kind="at_least", limit=8_000),),
    ),
    "added_delay": Scenario(added_delay, "milliseconds more than asking the stand-in directly"),
    "openai_dialect": Scenario(
        openai_dialect,
        "milliseconds that the OpenAI dialect adds to the first token, and its events per second over the other's",
        (
            Goal(path="first_token.added", kind="at_most", limit=3),
            Goal(path="ratio_openai_over_anthropic", kind="at_least", limit=0.8),
        ),
    ),
    "max_tokens_no_second_call": Scenario(
        max_tokens_no_second_call,
        "upstream calls for answers that stop at max_tokens",
        (Goal(path="ours.hidden_calls", kind="at_most", limit=0),),
    ),
    "postgres": Scenario(
        postgres,
        "requests per second on PostgreSQL over those on SQLite; needs a server",
        (Goal(path="ratio_postgres_over_sqlite", kind="at_least", limit=0.9),),
    ),
    "tracing": Scenario(
        tracing,
        "what traces, metrics and log cost: requests per second and first token with them over those without",
        (
            Goal(path="ratio_traced_over_untraced", kind="at_least", limit=0.95),
            Goal(path="first_token.ratio_traced_over_untraced", kind="at_most", limit=1.05),
        ),
    ),
    "dashboards": Scenario(
        dashboards,
        "what twenty open dashboards cost while eight requests run and 192 wait",
        (
            Goal(path="messages_per_s", kind="at_most", limit=5),
            Goal(path="cores_for_pages", kind="at_most", limit=0.1),
        ),
    ),
    "memory": Scenario(memory, "resident megabytes of server and workers"),
    **ENGINE_SCENARIOS,
}


def _contestants(stage: Stage) -> dict[str, Contestant]:
    return {"ours": stage.ours, "query": stage.query, "direct": stage.direct}


async def _first_token(stage: Stage, question: Question) -> Line:
    return await _compare_latency(stage, lambda contestant: first_token_of(contestant, question))


async def _compare_latency(
    stage: Stage, measurement_of: Callable[[Contestant], Measurement], *, requests: int = 1
) -> Line:
    samples = await _latencies(stage, _contestants(stage), measurement_of, requests=requests)
    sides = {name: {**milliseconds(taken.values), **_cpu(taken)} for name, taken in samples.items()}
    ours, query, direct = (percentile(samples[name].values, 0.5) for name in ("ours", "query", "direct"))
    return {
        "unit": "ms",
        **sides,
        "added_over_direct": round((ours - direct) * 1000, 2),
        "ratio_query_over_ours": ratio(query, ours),
        "ratio_query_over_ours_cpu": _cpu_ratio(samples),
    }


async def _latencies(
    stage: Stage,
    contestants: Mapping[str, Contestant],
    measurement_of: Callable[[Contestant], Measurement],
    *,
    requests: int = 1,
) -> dict[str, Samples]:
    entries = {
        name: Entry(
            contestant=contestant,
            measurement=measurement_of(contestant),
            times=stage.sizes.per_round,
            requests=requests,
        )
        for name, contestant in contestants.items()
    }
    return await alternate(entries, rounds=stage.sizes.rounds)


async def _requests_per_s(stage: Stage, question: Question) -> Line:
    folder = stage.folder / f"gateway-8-{'stream' if question.stream else 'plain'}"
    async with gateway_for(stage.stand_in, folder, slots=CLIENTS) as (_, ours_8_slots):
        contestants = {**_contestants(stage), "ours_8_slots": ours_8_slots}
        entries = {name: _load_entry(stage, name, side, question) for name, side in contestants.items()}
        samples = await alternate(entries, rounds=stage.sizes.load_rounds)
    rates = {name: taken.requests / sum(taken.values) for name, taken in samples.items()}
    sides = {
        name: {"overall": round(rates[name], 2), "requests": taken.requests, **_cpu(taken)}
        for name, taken in samples.items()
    }
    return {
        "unit": "requests/s",
        **sides,
        "ratio_ours_over_query": ratio(rates["ours"], rates["query"]),
        "ratio_ours_8_slots_over_query": ratio(rates["ours_8_slots"], rates["query"]),
        "ratio_query_over_ours_cpu": _cpu_ratio(samples),
    }


def _load_entry(stage: Stage, name: str, contestant: Contestant, question: Question) -> Entry:
    sizes = stage.sizes
    requests = sizes.load_query_requests if name == "query" else sizes.load_requests

    async def measurement() -> float:
        return await load(lambda: contestant.ask(question), clients=CLIENTS, requests=requests)

    return Entry(contestant=contestant, measurement=measurement, times=1, requests=requests)


def _cpu(taken: Samples) -> Line:
    return {"cpu_ms_per_request": taken.cpu_ms_per_request()} if taken.cpu_s else {}


def _cpu_ratio(samples: Mapping[str, Samples]) -> float | None:
    """Ratio of `query()`'s processor time per request; on a busy machine it is steadier than the clock."""
    query, ours = (sum(samples[name].cpu_ms_per_request().values()) for name in ("query", "ours"))
    return ratio(query, ours)
