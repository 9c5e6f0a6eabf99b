"""`python -m bench.compare --base DIR`: this checkout against another one, in interleaved pairs.

Both gateways start fresh, in front of one stand-in, and take turns; the order within a pair alternates. Prints one JSON
line: for each measurement the median of both sides and the median of the pairs' ratios (this checkout over the base).
Needs the machine for itself, and a base that runs with this checkout's virtual environment.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bench import questions
from bench.contestants import HttpContestant
from bench.gateways import CLIENTS, gateway_for
from bench.measure import first_token_s, load
from bench.stats import Line, encode_line, percentile
from tests.support.processes import clean_environment
from tests.support.stand_in import StandInProcess

_FIRST_TOKENS = 10
_LOAD_REQUESTS = 64
_STREAM_DELTAS = 20_000

Measure = Callable[[HttpContestant], Awaitable[float]]


async def first_token_ms(side: HttpContestant) -> float:
    """Median first token of some sequential streams, in milliseconds."""
    taken = [first_token_s(await side.ask(questions.short())) for _ in range(_FIRST_TOKENS)]
    return percentile(taken, 0.5) * 1000


async def requests_per_s(side: HttpContestant) -> float:
    """Streamed answers per second with eight clients."""
    return _LOAD_REQUESTS / await load(lambda: side.ask(questions.short()), clients=CLIENTS, requests=_LOAD_REQUESTS)


async def events_per_s(side: HttpContestant) -> float:
    """Events per second of one long stream."""
    return _STREAM_DELTAS / (await side.ask(questions.short(deltas=_STREAM_DELTAS))).total_s


MEASURES: Mapping[str, Measure] = {
    "first_token_ms": first_token_ms,
    "requests_per_s": requests_per_s,
    "events_per_s": events_per_s,
}


async def compare(base: Path, *, pairs: int, folder: Path) -> Line:
    """The line to print. base: the root of the other checkout."""
    stand_in = await asyncio.to_thread(StandInProcess, folder)
    try:
        async with contextlib.AsyncExitStack() as stack:
            manage = {"base": (str(base / "manage.py"),), "this": ("manage.py",)}
            sides = {}
            for name, command in manage.items():
                gateway = gateway_for(stand_in, folder / name, manage=command, migrated=False)  # its own tables
                _, sides[name] = await stack.enter_async_context(gateway)
            taken = {
                name: [await _pair(sides, measure, number) for number in range(pairs)]
                for name, measure in MEASURES.items()
            }
    finally:
        await asyncio.to_thread(stand_in.stop)
    return {"pairs": pairs, "cores": os.cpu_count(), **{name: _summary(values) for name, values in taken.items()}}


async def _pair(sides: Mapping[str, HttpContestant], measure: Measure, number: int) -> dict[str, float]:
    order = sorted(sides, reverse=bool(number % 2))
    return {name: await measure(sides[name]) for name in order}


def _summary(pairs: list[dict[str, float]]) -> Line:
    ratios = [pair["this"] / pair["base"] for pair in pairs]
    return {
        "base": round(percentile([pair["base"] for pair in pairs], 0.5), 2),
        "this": round(percentile([pair["this"] for pair in pairs], 0.5), 2),
        "ratio": round(percentile(ratios, 0.5), 3),
        "ratio_quartiles": [round(percentile(ratios, share), 3) for share in (0.25, 0.75)],
    }


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="root of the checkout to compare with")
    parser.add_argument("--pairs", type=int, default=12, metavar="N", help="pairs of each measurement (default: 12)")
    options = parser.parse_args()
    cleaned = clean_environment()
    os.environ.clear()
    os.environ.update(cleaned)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        line = asyncio.run(compare(options.base.resolve(), pairs=options.pairs, folder=Path(folder)))
    sys.stdout.buffer.write(encode_line(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
