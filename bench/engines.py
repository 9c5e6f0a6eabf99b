"""The engines side by side: stand-in called directly, gateway with `http`, gateway with `sdk`, and LiteLLM."""

import asyncio
from collections.abc import Mapping
from typing import Any

from bench.gateways import CLIENTS, gateway_for
from bench.load import Measured
from bench.memory import pss_sampled
from bench.scenario import Scenario
from bench.stage import Stage
from bench.stats import Goal, Line, median_and_p99, percentile, ratio
from bench.targets import HTTP_ENGINE, Target, alternately, target_of

_LEVELS = (1, 4, 16, 64)
_STREAM_S = 10.0
_STREAM_DELTAS = 60
_SERVE_STREAMS = 100
_STREAMS_LIMIT_S = 120.0
"""A server that has not finished all streams by then is stopped; the rest counts as wrong."""


async def engine_first_token(stage: Stage) -> Line:
    """One client, one question after the other."""
    sizes = stage.sizes.engines
    sums = await alternately(
        await stage.targets.all(),
        rounds=sizes.rounds,
        fast={"requests": sizes.fast_requests},
        slow={"requests": sizes.slow_requests},
    )
    return {"unit": "ms", "clients_1": _first_tokens(sums)}


async def engine_added_by_clients(stage: Stage) -> Line:
    """The same with several clients at once."""
    sizes, line = stage.sizes.engines, dict[str, Any]()
    targets = await stage.targets.all()
    for clients in _LEVELS:
        sums = await alternately(
            targets,
            rounds=sizes.level_rounds,
            fast={"requests": max(clients * 10, sizes.fast_requests), "clients": clients},
            slow={"requests": max(clients * 3, sizes.slow_requests), "clients": clients},
        )
        line[f"clients_{clients}"] = _first_tokens(sums)
    return {"unit": "ms", **line}


async def engine_requests_per_s(stage: Stage) -> Line:
    """Eight clients, each asking again as soon as it is answered: streams, and answers in one piece."""
    sizes, line = stage.sizes.engines, dict[str, Any]()
    targets = await stage.targets.all()
    for kind in ("streamed", "whole"):
        stream = kind == "streamed"
        sums = await alternately(
            targets,
            rounds=sizes.rounds,
            fast={"requests": sizes.rate_requests, "clients": CLIENTS, "stream": stream},
            slow={"requests": sizes.slow_requests * 2, "clients": CLIENTS, "stream": stream},
        )
        line[kind] = {
            name: {"overall": round(taken.answered / taken.elapsed_s, 1), **_cpu_per_answer(taken)}
            for name, taken in sums.items()
        }
        line[kind]["ratio_http_over_sdk"] = _ratio(line[kind], "http", "sdk")
        line[kind]["ratio_http_over_litellm"] = _ratio(line[kind], "http", "litellm")
    return {"unit": "requests/s", **line}


async def engine_events_per_s(stage: Stage) -> Line:
    """Long streams, one after the other."""
    sizes, line = stage.sizes.engines, dict[str, Any]()
    targets = await stage.targets.all()
    for deltas in sizes.stream_deltas:
        options = {"requests": 1, "deltas": deltas, "limit_s": _STREAMS_LIMIT_S}
        sums = await alternately(targets, rounds=sizes.rounds, fast=options, slow=options)
        line[f"deltas_{deltas}"] = {
            name: {"median": round(deltas / percentile(taken.total_s, 0.5)), **_cpu_per_answer(taken)}
            for name, taken in sums.items()
        }
    return {"unit": "events/s", **line}


async def engine_1000_streams(stage: Stage) -> Line:
    """Streams that last ten seconds each, started evenly over ten seconds. Without sdk: a process for each stream."""
    sizes = stage.sizes.engines
    line: Line = {"unit": "ms, MB, s", "streams": sizes.streams, "seconds": _STREAM_S, "deltas": _STREAM_DELTAS}
    for name, target in (await stage.targets.all(without="sdk")).items():
        line[name] = await _streams(target, sizes.streams, strict=name != "litellm")
    return line


async def engine_serve_memory(stage: Stage) -> Line:
    """A gateway with http that has just been started, and a hundred streams at once."""
    streams = _SERVE_STREAMS
    folder = stage.folder / "gateway-http-memory"
    async with gateway_for(stage.stand_in, folder, env=HTTP_ENGINE) as (gateway, _):
        return {"unit": "MB", "streams": streams, "http": await _streams(target_of(gateway), streams, spread_s=1.0)}


async def _streams(target: Target, count: int, *, spread_s: float = _STREAM_S, strict: bool = True) -> Line:
    before_s = await asyncio.to_thread(target.cpu_s)
    async with pss_sampled(target.root_pid) as samples:
        measured = await target.measure(
            requests=count,
            spread_s=spread_s,
            deltas=_STREAM_DELTAS,
            gap_s=_STREAM_S / _STREAM_DELTAS,
            limit_s=_STREAMS_LIMIT_S,
        )
    server_cpu_s = await asyncio.to_thread(target.cpu_s) - before_s
    if strict:
        measured.check()
    return {
        "answered": measured.answered,
        "wrong": measured.wrong,
        "most_at_once": measured.most_open,
        **({"first_token": median_and_p99(measured.first_s)} if measured.first_s else {}),
        "pss_mb": {"max": max(samples), "samples": len(samples)},
        "cpu_s_per_stream": round(server_cpu_s / count, 4),
        "client_cpu_s_per_stream": round(measured.client_cpu_s / count, 4),
    }


def _first_tokens(sums: Mapping[str, Measured]) -> Line:
    """Times of each server, and what it adds to the stand-in called directly."""
    line: Line = {name: {**median_and_p99(taken.first_s), **_cpu_per_answer(taken)} for name, taken in sums.items()}
    direct = line["direct"]
    for name in line.keys() - {"direct"}:
        line[name]["added"] = {figure: round(line[name][figure] - direct[figure], 2) for figure in ("median", "p99")}
    return line


def _cpu_per_answer(taken: Measured) -> Line:
    return {"cpu_ms_per_request": round(taken.server_cpu_s / taken.answered * 1000, 2)}


def _ratio(sides: Mapping[str, Mapping[str, float]], one: str, other: str) -> float | None:
    return ratio(sides[one]["overall"], sides[other]["overall"]) if other in sides else None


ENGINE_SCENARIOS: Mapping[str, Scenario] = {
    "engine_first_token": Scenario(
        engine_first_token,
        "milliseconds to the first token by engine, one client, and how many more than the stand-in",
        (
            Goal(path="clients_1.http.added.median", kind="at_most", limit=4),
            Goal(path="clients_1.http.added.p99", kind="at_most", limit=10),
        ),
    ),
    "engine_added_by_clients": Scenario(engine_added_by_clients, "the same with 1, 4, 16 and 64 clients"),
    "engine_requests_per_s": Scenario(
        engine_requests_per_s,
        "requests per second by engine, eight clients",
        (
            Goal(path="streamed.http.overall", kind="at_least", limit=250),
            Goal(path="whole.http.overall", kind="at_least", limit=250),
        ),
    ),
    "engine_events_per_s": Scenario(
        engine_events_per_s,
        "events per second of one long stream by engine",
        (Goal(path="deltas_20000.http.median", kind="at_least", limit=35_000),),
    ),
    "engine_1000_streams": Scenario(
        engine_1000_streams,
        "a thousand streams of ten seconds: first token, memory of all processes, processor time",
        (
            Goal(path="http.first_token.p99", kind="at_most", limit=300),
            Goal(path="http.pss_mb.max", kind="at_most", limit=400),
        ),
    ),
    "engine_serve_memory": Scenario(
        engine_serve_memory,
        "megabytes of a fresh gateway with a hundred streams, sampled each second",
        (Goal(path="http.pss_mb.max", kind="at_most", limit=512),),
    ),
}
