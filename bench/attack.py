"""`python -m bench.attack`: what others notice of a gateway that is sent the bodies that once stopped it.

For each case of tests/support/attacks.py one JSON line: `healthz_ms` (how long /healthz of the same process took),
`first_token` (another key's, as a part of what it is without an attack), `memory_ratio` (growth of the server at its
peak, as a part of the body). Ends with 1 where an answer had another status than expected; a missed goal is only shown.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import psutil

from bench.client import Connections
from bench.contestants import HttpContestant
from bench.gateways import gateway_for
from bench.questions import short
from bench.stats import Line, encode_line, percentile
from tests.limits.gateways import make_keys
from tests.support.attacks import ATTACKS, Attack
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

GOALS: Line = {"healthz_p99_ms": 50.0, "first_token": 2.0, "memory_ratio": 20.0}
_BASELINE_S = 3.0
_SECONDS = 10.0
_PAUSE_S = 0.01
_MEMORY_EVERY_S = 0.005
_ATTACK_TIMEOUT_S = 120.0


class Watch:
    """One gateway, and what is noticed of it from outside while something goes on."""

    def __init__(self, gateway: GatewayProcess, *, attacker: str, other: str) -> None:
        host, port = gateway.base_url.removeprefix("http://").split(":")
        self._server = psutil.Process(gateway.pid)
        self._health = Connections(host, int(port))
        self._attacks = Connections(host, int(port))
        self._attacker = attacker
        self._other = HttpContestant(gateway.base_url, api_key=other)
        self._baseline_s = 0.0

    async def settle(self) -> None:
        """Measures the other key alone."""
        _, first_tokens, _ = await self._during(asyncio.sleep(_BASELINE_S))
        self._baseline_s = percentile(first_tokens, 0.5)

    async def attack(self, name: str, attack: Attack) -> Line:
        """Sends the case's body again and again for a while."""
        body = await asyncio.to_thread(attack.body)
        statuses: set[int] = set()
        before = self._server.memory_info().rss
        healthz, first_tokens, peak = await self._during(self._send(attack, body, statuses))
        return {
            "case": name,
            "body_mb": round(len(body) / 1e6, 2),
            "status": sorted(statuses),
            "as_expected": statuses - ({429} if attack.limited else set()) == {attack.status},
            "healthz_p99_ms": round(percentile(healthz, 0.99) * 1000, 1),
            "healthz_max_ms": round(max(healthz) * 1000, 1),
            "healthz_polls": len(healthz),
            "first_token": round(percentile(first_tokens, 0.5) / self._baseline_s, 2),
            "first_token_ms": round(percentile(first_tokens, 0.5) * 1000, 1),
            "memory_ratio": round((peak - before) / len(body), 1),
            "memory_growth_mb": round((peak - before) / 1e6, 1),
        }

    def close(self) -> None:
        """Closes the connections."""
        self._health.close()
        self._attacks.close()
        self._other.close()

    async def _send(self, attack: Attack, body: bytes, statuses: set[int]) -> None:
        headers = {"x-api-key": self._attacker, "content-type": "application/json"}
        until = time.monotonic() + _SECONDS
        async with asyncio.timeout(_ATTACK_TIMEOUT_S):
            while not statuses or time.monotonic() < until:
                statuses.add((await self._attacks.post(attack.path, body, headers=headers)).status)

    async def _during(self, work: Awaitable[object]) -> tuple[list[float], list[float], int]:
        """Times of /healthz, first tokens of the other key, and the server's most memory in bytes, while it goes on."""
        healthz: list[float] = []
        first_tokens: list[float] = []
        peak = [0]
        tasks = [
            asyncio.create_task(self._poll(healthz)),
            asyncio.create_task(self._ask(first_tokens)),
            asyncio.create_task(self._weigh(peak)),
        ]
        try:
            await work
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if not isinstance(error, asyncio.CancelledError) and isinstance(error, BaseException):
                raise error
        return healthz, first_tokens or [0.0], peak[0]

    async def _poll(self, times: list[float]) -> None:
        while True:
            times.append((await self._health.post("/healthz", b"", headers={})).total_s)
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, first_tokens: list[float]) -> None:
        while True:
            took = await self._other.ask(short())
            first_tokens.append(took.first_token_s or took.total_s)
            await asyncio.sleep(_PAUSE_S)

    async def _weigh(self, peak: list[int]) -> None:
        while True:
            peak[0] = max(peak[0], self._server.memory_info().rss)
            await asyncio.sleep(_MEMORY_EVERY_S)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.attack", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), metavar="NAME", help="these cases alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        return asyncio.run(_run(Path(folder), options.only or list(ATTACKS)))


async def _run(folder: Path, names: Sequence[str]) -> int:
    stand_in = await asyncio.to_thread(StandInProcess, folder)
    as_expected = True
    try:
        async with gateway_for(stand_in, folder / "gateway") as (gateway, _):
            keys = await asyncio.to_thread(make_keys, gateway, {"attacker": {}, "other": {}})
            watch = Watch(gateway, **keys)
            try:
                await watch.settle()
                for name in names:
                    line = await watch.attack(name, ATTACKS[name])
                    missed = [goal for goal, most in GOALS.items() if float(line[goal]) > float(most)]
                    as_expected = as_expected and bool(line["as_expected"])
                    sys.stdout.buffer.write(encode_line({**line, "missed": missed}))
                    sys.stdout.buffer.flush()
            finally:
                watch.close()
    finally:
        await asyncio.to_thread(stand_in.stop)
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
