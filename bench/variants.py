"""Gateways that differ in one thing, side by side. Both are new: workers go on getting faster for a thousand turns."""

import contextlib
from collections.abc import Mapping

from bench import questions
from bench.contestants import Contestant
from bench.gateways import CLIENTS, gateway_for
from bench.measure import Entry, Measurement, alternate, first_token_of, load
from bench.stage import Stage
from bench.stats import Line, milliseconds, percentile, ratio
from tests.support.postgres import made_database


async def postgres(stage: Stage) -> Line:
    """Eight clients and single requests, each in turn on PostgreSQL and on SQLite; a server must be there."""
    with made_database() as url:
        return await _compare(stage, {"postgres": {"DATABASE_URL": url}, "sqlite": {}})


async def tracing(stage: Stage) -> Line:
    """The same, in turn with traces, metrics and log, and without any of them."""
    untraced = {"DJANGO_SETTINGS_MODULE": "tests.support.untraced"}
    return await _compare(stage, {"traced": {}, "untraced": untraced})


async def _compare(stage: Stage, variants: Mapping[str, Mapping[str, str]]) -> Line:
    """The first of the two variants by the second; of each, what is set in its environment."""
    one, other = variants
    async with contextlib.AsyncExitStack() as stack:
        sides: dict[str, Contestant] = {}
        for name, env in variants.items():
            gateway = gateway_for(stage.stand_in, stage.folder / f"gateway-{name}", env=env)
            _, sides[name] = await stack.enter_async_context(gateway)
        rates, first_tokens = await _rates(stage, sides), await _first_tokens(stage, sides)
    medians = {name: percentile(values, 0.5) for name, values in first_tokens.items()}
    return {
        "unit": "requests/s, ms",
        **{name: round(rate, 2) for name, rate in rates.items()},
        f"ratio_{one}_over_{other}": ratio(rates[one], rates[other]),
        "first_token": {
            **{name: milliseconds(values) for name, values in first_tokens.items()},
            "added": round((medians[one] - medians[other]) * 1000, 2),
            f"ratio_{one}_over_{other}": ratio(medians[one], medians[other]),
        },
    }


async def _rates(stage: Stage, sides: Mapping[str, Contestant]) -> dict[str, float]:
    sizes, question = stage.sizes, questions.short()

    def crowd(side: Contestant) -> Measurement:
        return lambda: load(lambda: side.ask(question), clients=CLIENTS, requests=sizes.load_requests)

    entries = {
        name: Entry(contestant=side, measurement=crowd(side), times=1, requests=sizes.load_requests)
        for name, side in sides.items()
    }
    samples = await alternate(entries, rounds=sizes.load_rounds)
    return {name: taken.requests / sum(taken.values) for name, taken in samples.items()}


async def _first_tokens(stage: Stage, sides: Mapping[str, Contestant]) -> dict[str, list[float]]:
    sizes = stage.sizes
    entries = {
        name: Entry(contestant=side, measurement=first_token_of(side, questions.short()), times=sizes.per_round)
        for name, side in sides.items()
    }
    samples = await alternate(entries, rounds=sizes.rounds)
    return {name: list(taken.values) for name, taken in samples.items()}
