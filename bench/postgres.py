"""The gateway on PostgreSQL beside the one on SQLite."""

from bench import questions
from bench.contestants import Contestant
from bench.measure import Entry, Measurement, alternate, first_token_of, load
from bench.stage import CLIENTS, Stage, gateway_for
from bench.stats import Line, milliseconds, percentile, ratio
from tests.support.postgres import made_database


async def postgres(stage: Stage) -> Line:
    """Eight clients and single requests, each in turn on the one and on the other; a server must be there."""
    with made_database() as url:
        async with gateway_for(stage.stand_in, stage.folder / "gateway-postgres", env={"DATABASE_URL": url}) as (_, it):
            sides: dict[str, Contestant] = {"postgres": it, "sqlite": stage.ours}
            return {**await _rates(stage, sides), "first_token": await _first_tokens(stage, sides)}


async def _rates(stage: Stage, sides: dict[str, Contestant]) -> Line:
    sizes, question = stage.sizes, questions.short()

    def crowd(side: Contestant) -> Measurement:
        return lambda: load(lambda: side.ask(question), clients=CLIENTS, requests=sizes.load_requests)

    entries = {
        name: Entry(contestant=side, measurement=crowd(side), times=1, requests=sizes.load_requests)
        for name, side in sides.items()
    }
    samples = await alternate(entries, rounds=sizes.load_rounds)
    rates = {name: taken.requests / sum(taken.values) for name, taken in samples.items()}
    return {
        "unit": "requests/s, ms",
        **{name: round(rate, 2) for name, rate in rates.items()},
        "ratio_postgres_over_sqlite": ratio(rates["postgres"], rates["sqlite"]),
    }


async def _first_tokens(stage: Stage, sides: dict[str, Contestant]) -> Line:
    sizes = stage.sizes
    entries = {
        name: Entry(contestant=side, measurement=first_token_of(side, questions.short()), times=sizes.per_round)
        for name, side in sides.items()
    }
    samples = await alternate(entries, rounds=sizes.rounds)
    postgres, sqlite = (percentile(samples[name].values, 0.5) for name in ("postgres", "sqlite"))
    sides_ms = {name: milliseconds(taken.values) for name, taken in samples.items()}
    return {**sides_ms, "added": round((postgres - sqlite) * 1000, 2)}
