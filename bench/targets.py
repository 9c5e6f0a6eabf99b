"""Servers that the engine scenarios load: the stand-in, a gateway of each engine, and LiteLLM."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import litellm
from bench.contestants import API_VERSION, processor_time_s
from bench.gateways import gateway_for
from bench.load import Measured, Plan, run_load
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

HTTP_ENGINE = {"CLAUDE_PROXY_ENGINE": "http"}
_WARM_REQUESTS = 40
_WARM_CLIENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server. pid: of the process whose processor time counts; root_pid: the parent of all its processes.

    fast: takes hundreds of requests a second.
    """

    base_url: str
    api_key: str
    pid: int
    root_pid: int
    fast: bool = False

    def plan(self, **options: object) -> Plan:
        """Load on this server."""
        headers = {
            "x-api-key": self.api_key,
            "anthropic-version": API_VERSION,
            "content-type": "application/json",
        }
        return Plan(base_url=self.base_url, headers=headers, **options)  # type: ignore[arg-type]  # by name

    async def load(self, **options: object) -> Measured:
        """Run a load. Raises BadAnswerError if an answer is wrong or missing."""
        measured = await self.measure(**options)
        measured.check()
        return measured

    async def measure(self, **options: object) -> Measured:
        """Run a load; wrong answers are only counted."""
        return await run_load(self.plan(**options))

    def cpu_s(self) -> float:
        """Processor time so far, child processes included."""
        return sum(processor_time_s(self.pid).values())


class Targets:
    """The servers, each started at its first use and stopped by `aclose`."""

    def __init__(self, stand_in: StandInProcess, sdk: GatewayProcess, folder: Path, litellm_venv: Path | None) -> None:
        self._stand_in = stand_in
        self._folder = folder
        self._litellm_venv = litellm_venv
        self._litellm_tried = False
        self._stack = contextlib.AsyncExitStack()
        self._targets: dict[str, Target] = {
            "direct": Target(
                base_url=stand_in.base_url, api_key="bench", pid=stand_in.pid, root_pid=stand_in.pid, fast=True
            ),
            "sdk": target_of(sdk),
        }

    async def all(self, *, without: str = "") -> Mapping[str, Target]:
        """The servers by name. LiteLLM is missing where it cannot be installed."""
        if "http" not in self._targets:
            gateway, _ = await self._stack.enter_async_context(
                gateway_for(self._stand_in, self._folder / "gateway-http", env=HTTP_ENGINE)
            )
            self._targets["http"] = target_of(gateway, fast=True)
        if not self._litellm_tried:
            self._litellm_tried = True
            await self._start_litellm()
        order = ("direct", "http", "sdk", "litellm")
        return {name: self._targets[name] for name in order if name in self._targets and name != without}

    async def aclose(self) -> None:
        """Stop what was started here."""
        await self._stack.aclose()

    async def _start_litellm(self) -> None:
        try:
            venv = self._litellm_venv or await litellm.install(self._folder / "litellm-venv")
            base_url, process = await self._stack.enter_async_context(
                litellm.started(venv, self._folder / "litellm", upstream=self._stand_in.base_url)
            )
            target = Target(base_url=base_url, api_key=litellm.KEY, pid=process.pid, root_pid=process.pid)
            await target.load(requests=_WARM_REQUESTS, clients=_WARM_CLIENTS)
        except Exception as error:  # noqa: BLE001 — it is only for comparison; the gateway is measured without it
            sys.stderr.write(f"bench: without LiteLLM: {type(error).__name__}: {error}\n")
            return
        self._targets["litellm"] = target


def target_of(gateway: GatewayProcess, *, fast: bool = False) -> Target:
    """A gateway as a target."""
    return Target(
        base_url=gateway.base_url,
        api_key=gateway.api_key,
        pid=gateway.pid,
        root_pid=gateway.process.pid,
        fast=fast,
    )


async def alternately(
    targets: Mapping[str, Target], *, rounds: int, fast: Mapping[str, object], slow: Mapping[str, object]
) -> dict[str, Measured]:
    """Load each target in each round, in turn; the sums of all rounds by target, with the server's processor time."""
    sums = {name: Measured() for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            before_s = await asyncio.to_thread(target.cpu_s)
            measured = await target.load(**(fast if target.fast else slow))
            measured.server_cpu_s = await asyncio.to_thread(target.cpu_s) - before_s
            sums[name].add(measured)
    return sums
