"""`python -m bench.badkey`: one key sends bad requests of 50 kinds while another key is in use.

Prints one JSON line: the good key's first tokens alone and beside the bad one, its errors, and what the bad one got by
kind. Ends with 1 where the good key got an error, or its p99 is above twice its value when alone.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.badkinds import KINDS, Kind
from bench.client import Connections, Reply
from bench.questions import short
from bench.sse import BadAnswerError, events_of
from bench.stats import percentile
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.processes import clean_environment
from tests.support.stand_in import StandInProcess

_ANSWER_TIMEOUT_S = 60.0
_GOOD_PAUSE_S = 0.2
"""Between an answer to the good key and its next request."""
_WARM_REQUESTS = 20
_ALLOWED_RATIO = 2.0


@dataclass(slots=True)
class Good:
    """The key in use: its first tokens in seconds, and what went wrong."""

    first_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """Figures for the output line; times in milliseconds."""
        times = {name: _milliseconds(self.first_s, part) for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99))}
        return {"n": len(self.first_s) + self.errors.total(), **times, "errors": dict(self.errors)}


@dataclass(slots=True)
class Bad:
    """The bad key: statuses by kind; 0 stands for a connection that was closed or an answer that never came."""

    statuses: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    sent: int = 0
    late_s: float = 0.0


class Client:
    """One key at one gateway."""

    def __init__(self, gateway: GatewayProcess, secret: str) -> None:
        address = urlsplit(gateway.base_url)
        assert address.hostname is not None
        assert address.port is not None
        self._connections = Connections(address.hostname, address.port)
        self._headers = {"x-api-key": secret, "content-type": "application/json", "anthropic-version": "2023-06-01"}

    async def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        """Asks; raises BadAnswerError or TimeoutError where no answer comes."""
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            return await self._connections.post(path, body, headers={**self._headers, **(headers or {})})

    def close(self) -> None:
        """Closes the connections."""
        self._connections.close()


async def use(client: Client, good: Good, *, until: asyncio.Event | None = None, times: int | None = None) -> None:
    """A key in use: streamed requests one after another, so many times or until the event."""
    question = short(deltas=5)
    while (until is None or not until.is_set()) and (times is None or times > 0):
        times = None if times is None else times - 1
        try:
            reply = await client.post("/v1/messages", question.body())
            if reply.status != 200 or reply.first_delta_s is None:
                good.errors[f"{reply.status}: {reply.body[:200].decode(errors='replace')}"] += 1
            else:
                events_of(reply.body)
                good.first_s.append(reply.first_delta_s)
        except (BadAnswerError, TimeoutError, OSError) as error:
            good.errors[type(error).__name__] += 1
        await asyncio.sleep(_GOOD_PAUSE_S)


async def misbehave(client: Client, bad: Bad, *, count: int, rate: float, kinds: Sequence[Kind] = KINDS) -> None:
    """Sends a number of bad requests of all kinds in turn, at the rate, without waiting for answers."""
    started_at = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due_s = number / rate - (time.monotonic() - started_at)
            bad.late_s = max(bad.late_s, -due_s)
            await asyncio.sleep(max(0.0, due_s))
            group.create_task(_ask_badly(client, bad, kinds[number % len(kinds)]))
            bad.sent += 1


async def _ask_badly(client: Client, bad: Bad, kind: Kind) -> None:
    try:
        status = (await client.post(kind.path, kind.body, dict(kind.headers))).status
    except (BadAnswerError, TimeoutError, OSError, ValueError):
        status = 0
    bad.statuses[kind.name][status] += 1


async def measure(gateway: GatewayProcess, *, count: int, rate: float, alone: int) -> dict[str, Any]:
    """The line: the good key alone for so many requests, then beside the bad one."""
    secrets = await asyncio.to_thread(make_keys, gateway, {"good": {}, "bad": {}})
    using, misusing = Client(gateway, secrets["good"]), Client(gateway, secrets["bad"])
    try:
        await use(using, Good(), times=_WARM_REQUESTS)
        baseline, beside, bad = Good(), Good(), Bad()
        await use(using, baseline, times=alone)
        over = asyncio.Event()
        in_use = asyncio.create_task(use(using, beside, until=over))
        await misbehave(misusing, bad, count=count, rate=rate)
        over.set()
        await in_use
    finally:
        using.close()
        misusing.close()
    ratio = beside.summary()["p99_ms"] / baseline.summary()["p99_ms"] if beside.first_s and baseline.first_s else None
    return {
        "scenario": "badkey",
        "count": bad.sent,
        "rate_per_s": rate,
        "kinds": len(KINDS),
        "alone": baseline.summary(),
        "beside": beside.summary(),
        "p99_ratio": None if ratio is None else round(ratio, 2),
        "late_s": round(bad.late_s, 2),
        "statuses": {name: dict(counts) for name, counts in sorted(bad.statuses.items())},
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 1),
    }


def _milliseconds(values: Sequence[float], fraction: float) -> float | None:
    return round(percentile(values, fraction) * 1000, 1) if values else None


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.badkey", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="bad requests (10000)")
    parser.add_argument("--rate", type=float, default=50.0, help="of them a second (50)")
    parser.add_argument("--alone", type=int, default=300, help="requests of the good key alone (300)")
    options = parser.parse_args()
    cleaned = clean_environment()
    os.environ.clear()
    os.environ.update(cleaned)
    with tempfile.TemporaryDirectory(prefix="badkey-") as name:
        folder = Path(name)
        stand_in = StandInProcess(folder)
        # The breaker as operators have it: the shared default of the tests switches it off.
        breaker = {"CLAUDE_PROXY_BREAKER_FAILURES": "10"}
        gateway = GatewayProcess(folder, upstream=stand_in.base_url, env=breaker)
        try:
            gateway.start()
            line = asyncio.run(measure(gateway, count=options.count, rate=options.rate, alone=options.alone))
        finally:
            if gateway.base_url:
                gateway.stop()
            stand_in.stop()
    sys.stdout.write(json.dumps(line) + "\n")
    ratio = line["p99_ratio"]
    return 1 if line["beside"]["errors"] or ratio is None or ratio > _ALLOWED_RATIO else 0


if __name__ == "__main__":
    sys.exit(main())
