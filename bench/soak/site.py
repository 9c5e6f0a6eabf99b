"""Site of a soak: stand-in, gateway, keys of several kinds, and open pages of the dashboard."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import GatewayProcess
from tests.support.processes import ROOT, clean_environment
from tests.support.stand_in import StandInProcess

_OPERATOR = "operator"
_KEYS: Mapping[str, tuple[str, ...]] = {
    _OPERATOR: ("--admin",),
    "narrow": ("--concurrent-runs", "2"),
    "metered": ("--requests-per-minute", "240", "--tokens-per-minute", "100000000", "--budget-day-usd", "1000000"),
}
LIMITED = frozenset(_KEYS) - {_OPERATOR}
"""The keys whose requests may be refused with 429."""
SHARES: Mapping[str, int] = {"env": 70, "narrow": 15, "metered": 15}
"""How the requests are shared among the keys; `env` has no limits."""


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway in front of a stand-in. keys: secrets by name."""

    stand_in: StandInProcess
    gateway: GatewayProcess
    keys: Mapping[str, str]

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.gateway.state_dir / "db.sqlite3"

    def health(self) -> dict[str, Any]:
        """/debug/health. Blocks."""
        return self._get("/debug/health")

    def active(self) -> dict[str, Any]:
        """/debug/active. Blocks."""
        return self._get("/debug/active")

    def open_exchanges(self) -> int:
        """Upstream calls that have not ended, of the last ones. Blocks."""
        exchanges = httpx.get(f"{self.stand_in.base_url}/_recorded", params={"open": 1}, timeout=30).json()
        return len(exchanges)

    def _get(self, path: str) -> dict[str, Any]:
        headers = {"x-api-key": self.keys[_OPERATOR]}
        answer = httpx.get(f"{self.gateway.base_url}{path}", headers=headers, timeout=30).raise_for_status().json()
        assert isinstance(answer, dict)
        return answer


@contextlib.asynccontextmanager
async def opened(folder: Path, env: Mapping[str, str]) -> AsyncIterator[Site]:
    """Starts it all, and ends it. env: settings of the gateway."""
    stand_in = await asyncio.to_thread(StandInProcess, folder)
    try:
        gateway = GatewayProcess(folder, upstream=stand_in.base_url, env=env)
        await asyncio.to_thread(gateway.start)
        try:
            keys = await asyncio.to_thread(_make_keys, gateway)
            yield Site(stand_in, gateway, {"env": gateway.api_key, **keys})
        finally:
            await asyncio.to_thread(gateway.stop)
    finally:
        await asyncio.to_thread(stand_in.stop)


def _make_keys(gateway: GatewayProcess) -> dict[str, str]:
    """The keys beside `env`, made as an operator makes them, but by one process."""
    calls = [f"call_command('createapikey', {name!r}, *{limits!r}, '--json')" for name, limits in _KEYS.items()]
    program = "\n".join(["from django.core.management import call_command", *(f"{call}; print()" for call in calls)])
    env = clean_environment(CLAUDE_PROXY_STATE_DIR=str(gateway.state_dir), ANTHROPIC_API_KEY="sk-test")
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", program]
    output = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, timeout=60).stdout
    made = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    return {key["name"]: key["secret"] for key in made}
