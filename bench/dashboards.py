"""Cost of open dashboards under full load: messages, processor time, first tokens."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench import questions
from bench.contestants import HttpContestant, processor_time_s
from bench.gateways import gateway_for
from bench.pages import Pages
from bench.stage import Stage
from bench.stats import Line, milliseconds, percentile

_PAGES = 20
_RUNS = 200
_SLOTS = 8
_QUESTION = questions.short(deltas=6, extra="[[gap=0.25]]")
_ENV = {"CLAUDE_PROXY_QUEUE_MAX": str(_RUNS), "CLAUDE_PROXY_QUEUE_TIMEOUT_MS": "110000"}
_SETTLE_S = 2.0
"""Until the first messages of pages that were just opened have come."""
_WINDOW_S = 8.0

_FIRST_TOKENS = """
SELECT (julianday(first_token_at) - julianday(admitted_at)) * 86400.0 FROM observability_trace
WHERE status = 'completed' AND (julianday(first_token_at) - 2440587.5) * 86400.0 BETWEEN ? AND ?
"""


@dataclass(slots=True)
class _Side:
    """Measurements with pages, or without. spans: periods in Unix seconds."""

    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    messages: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def cores(self) -> float:
        """The server's share of a core."""
        return self.cpu_s / self.elapsed_s

    def first_tokens_s(self, database: Path) -> list[float]:
        """Times from admission to first token, of all first tokens in these spans."""
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
            return [float(row[0]) for span in self.spans for row in connection.execute(_FIRST_TOKENS, span)]


async def dashboards(stage: Stage) -> Line:
    """Two hundred clients, of whom eight are answered at a time; in turn without a page and with twenty."""
    folder = stage.folder / "gateway-dashboards"
    without, with_pages = _Side(), _Side()
    async with gateway_for(stage.stand_in, folder, slots=_SLOTS, env=_ENV) as (gateway, contestant):
        async with _crowd(contestant):
            for _ in range(stage.sizes.load_rounds):
                for side, count in ((without, 0), (with_pages, _PAGES)):
                    pages = Pages()
                    async with pages.opened(gateway, count):
                        await _watch(side, pages, gateway.pid)
        await asyncio.sleep(_SETTLE_S)  # the last traces
        database = gateway.state_dir / "db.sqlite3"
        tokens = [await asyncio.to_thread(side.first_tokens_s, database) for side in (without, with_pages)]
    return {
        "unit": "messages/s for each page, cores, ms from admission to first token",
        "pages": _PAGES,
        "runs": {"running": _SLOTS, "waiting": _RUNS - _SLOTS},
        "messages_per_s": round(with_pages.messages / _PAGES / with_pages.elapsed_s, 2),
        "cores_without": round(without.cores, 3),
        "cores_for_pages": round(with_pages.cores - without.cores, 3),
        "first_token": {
            "without": milliseconds(tokens[0]),
            "with": milliseconds(tokens[1]),
            "added": round((percentile(tokens[1], 0.5) - percentile(tokens[0], 0.5)) * 1000, 2),
        },
    }


@contextlib.asynccontextmanager
async def _crowd(contestant: HttpContestant) -> AsyncIterator[None]:
    """Clients that ask again as soon as they are answered."""

    async def client() -> None:
        while True:
            await contestant.ask(_QUESTION)

    tasks = [asyncio.create_task(client()) for _ in range(_RUNS)]
    try:
        yield
        failed = [task for task in tasks if task.done()]
        for task in failed:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(side: _Side, pages: Pages, pid: int) -> None:
    await asyncio.sleep(_SETTLE_S)
    messages, cpu_s, began, began_at = pages.messages, processor_time_s(pid)["server"], time.perf_counter(), time.time()
    await asyncio.sleep(_WINDOW_S)
    side.messages += pages.messages - messages
    side.cpu_s += processor_time_s(pid)["server"] - cpu_s
    side.elapsed_s += time.perf_counter() - began
    side.spans.append((began_at, time.time()))
