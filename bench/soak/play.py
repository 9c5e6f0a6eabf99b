"""A soak from its first request to its verdict."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from apiproxy.core.turns import EngineName
from bench.pages import Pages
from bench.soak import books, verdict
from bench.soak.arrivals import Arrivals
from bench.soak.callers import Callers, Tally
from bench.soak.mix import TIMED
from bench.soak.site import LIMITED, SHARES, Site, opened
from bench.soak.watch import Sample, Watch, look
from bench.stats import Line, finished_line

_MAX_OPEN = 400
"""Connections of clients at once: the queue's hundred, the slots, and those on their way."""
_IDLE_S = 40.0
HTTP_SLOTS_PER_CORE = 1
"""Slots of the http engine unless they are given: the mix's streams come as fast as they can and need the CPU."""
_CLIENTS_PER_SLOT = 2
_UNLOADED, _CLOSED, _LOADED = "soak-unloaded", "soak-closed", "soak-loaded"
_KINDS = json.dumps([kind.name for kind in TIMED])

Report = Callable[[Line], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Amount of load. rate: requests a second; None: factor times the capacity. Times in seconds."""

    load_s: float
    unloaded_requests: int
    capacity_s: float
    sample_s: float
    warm_requests: int = 40
    pages: int = 3
    rate: float | None = None
    factor: float = 2.0
    seed: int = 1
    engine: EngineName = "sdk"
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        minutes: float,
        rate: float | None,
        factor: float,
        seed: int,
        engine: EngineName,
        env: Mapping[str, str],
    ) -> "Plan":
        """A plan for so many minutes of load."""
        long = minutes * 60 >= verdict.LONG_S
        return cls(
            load_s=minutes * 60,
            unloaded_requests=400 if long else 150,
            capacity_s=30.0 if long else 10.0,
            sample_s=5.0 if long else 2.0,
            rate=rate,
            factor=factor,
            seed=seed,
            engine=engine,
            env=env,
        )


def slot_settings(engine: EngineName, slots: int | None) -> dict[str, str]:
    """Settings of a gateway with that engine and so many slots; None for the default."""
    if engine == "http" and slots is None:
        slots = HTTP_SLOTS_PER_CORE * (os.cpu_count() or 1)
    name = {"sdk": "CLAUDE_PROXY_MAX_CONCURRENT", "http": "CLAUDE_PROXY_HTTP_MAX_CONCURRENT"}[engine]
    return {"CLAUDE_PROXY_ENGINE": engine} | ({} if slots is None else {name: str(slots)})


async def play(plan: Plan, folder: Path, *, report: Report, say: Callable[[str], None]) -> bool:
    """Plays it and reports its lines; False for wrong answers, leaks, or books that do not agree."""
    say("starting the stand-in and the gateway")
    async with opened(folder, plan.env) as site:
        callers = Callers(site.gateway.base_url, site.keys, limited=LIMITED)
        try:
            return await _Soak(plan, site, callers, report, say).run()
        finally:
            callers.close()


class _Soak:
    def __init__(self, plan: Plan, site: Site, callers: Callers, report: Report, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._site = site
        self._callers = callers
        self._report = report
        self._say = say
        self._arrivals = Arrivals(callers=callers, shares=SHARES, seed=plan.seed, max_open=_MAX_OPEN)
        self._pages = Pages()
        self._tally = Tally()
        self._agent = _LOADED

    async def run(self) -> bool:
        """The phases, one after the other."""
        plan, site = self._plan, self._site
        slots = int((await asyncio.to_thread(site.health))["queue"]["max"])
        await self._arrivals.one_by_one(plan.warm_requests, agent="soak-warm")
        self._say(f"{plan.unloaded_requests} requests, one by one")
        quiet = await self._arrivals.one_by_one(plan.unloaded_requests, agent=_UNLOADED)
        self._say(f"capacity: {_CLIENTS_PER_SLOT * slots} clients for {plan.capacity_s:g} s")
        closed, capacity = await self._arrivals.closed_loop(
            clients=_CLIENTS_PER_SLOT * slots, seconds=plan.capacity_s, agent=_CLOSED
        )
        self._report({"soak": "capacity", "requests_per_s": round(capacity, 1), "outcomes": closed.outcomes()})
        rate = plan.rate or plan.factor * capacity
        before = await self._idle_sample()
        self._say(f"{rate:.1f} requests a second for {plan.load_s:g} s")
        watch = Watch(site, plan.sample_s, self._report_sample)
        async with self._pages.opened(site.gateway, plan.pages), watch.on():
            await self._arrivals.open_loop(rate=rate, seconds=plan.load_s, agent=_LOADED, tally=self._tally)
        self._say("waiting until everything is over")
        after = await self._idle_sample()
        for tally in (quiet, closed):  # a wrong answer is wrong at any time
            self._tally.wrong += tally.wrong
        wrong = quiet.of("wrong") + closed.of("wrong")
        limits = verdict.Limits.of(plan.engine, slots)
        return await asyncio.to_thread(
            self._judge, quiet, watch, (before, after), limits, {"capacity": capacity, "rate": rate}, wrong
        )

    def _report_sample(self, sample: Sample) -> None:
        self._report({"soak": "sample", **sample.line(), "outcomes": self._tally.outcomes()})

    async def _idle_sample(self) -> Sample:
        """Sample of the idle gateway, after its clients' connections are closed."""
        self._callers.close()
        deadline = time.monotonic() + _IDLE_S
        while time.monotonic() < deadline:
            active = await asyncio.to_thread(self._site.active)
            idle = not (active["activeRequests"] or active["queue"]["active"] or active["queue"]["waiting"])
            if idle and (await asyncio.to_thread(books.read, self._site.database, self._agent)).closed:
                break  # traces and sums come some tenths of a second later, by threads of their own
            await asyncio.sleep(0.2)
        return await asyncio.to_thread(look, self._site, 0.0)

    def _judge(
        self,
        quiet: Tally,
        watch: Watch,
        ends: tuple[Sample, Sample],
        limits: verdict.Limits,
        rates: Mapping[str, float],
        wrong_before: int,
    ) -> bool:
        database, tally = self._site.database, self._tally
        samples, seen = watch.samples, watch.seen
        kept = books.read(database, _LOADED)
        seconds = {agent: books.first_token_s(database, agent, _KINDS) for agent in (_UNLOADED, _LOADED)}
        outcomes = tally.outcomes()
        line: Line = {
            "engine": self._plan.engine,
            "slots": limits.slots,
            "requests_per_s": {name: round(value, 1) for name, value in rates.items()},
            "seconds": self._plan.load_s,
            "answers": {
                "sent": tally.sent(),
                **outcomes,
                "wrong": outcomes.get("wrong", 0) + wrong_before,
                "not_sent": tally.not_sent,
                "examples": tally.wrong,
            },
            "first_token": verdict.times_line(seconds[_UNLOADED], seconds[_LOADED]),
            "first_token_at_client": verdict.times_line(quiet.first_s, tally.first_s),
            "first_token_by_kind": self._by_kind(),
            "memory": verdict.memory_line(samples),
            "during": verdict.during_line(samples, limits, seen=len(seen), starts_failed=self._starts_failed()),
            "after": verdict.after_line(
                ends[0],
                ends[1],
                books=kept,
                tally=tally,
                open_exchanges=self._site.open_exchanges(),
                limits=limits,
            ),
            "errors_kept": kept.errors,
            "pages": {"messages": self._pages.messages, "closed": self._pages.closed},
        }
        right = verdict.right_goals()
        if self._plan.load_s >= verdict.LONG_S:
            right += verdict.memory_goals()
        finished = finished_line("soak", line, (*right, *verdict.time_goals(self._plan.engine)), {})
        self._report({"soak": "verdict", **finished})
        return all(goal.judge(line)["met"] for goal in right)

    def _by_kind(self) -> Line:
        def seconds(agent: str, kind: str) -> list[float]:
            return books.first_token_s(self._site.database, agent, json.dumps([kind]))

        return {
            kind.name: verdict.times_line(seconds(_UNLOADED, kind.name), seconds(_LOADED, kind.name)) for kind in TIMED
        }

    def _starts_failed(self) -> int:
        return self._site.gateway.output.count("worker.start_failed")
