"""A gateway that is watched: what its clients get, what it keeps of their requests, and whether it is at rest after."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from apiproxy.core.turns import EngineName
from tests.faults import unruly_cli
from tests.support.gateway import GatewayProcess
from tests.support.processes import ROOT
from tests.support.waiting import eventually

MODEL = "claude-haiku-4-5"
KEYS: Mapping[str, Mapping[str, Any]] = {
    "operator": {"scopes": ["api", "admin"]},
    "limited": {"concurrent_runs": 50, "requests_per_minute": 100_000, "budget_total_usd": "1000"},
    "unused": {},
    "sparing": {"requests_per_minute": 1},
}
REST_S = 10.0


def settings_of(engine: EngineName, *, slots: int = 2, spares: int = 1) -> dict[str, str]:
    """Settings of a small gateway with that engine."""
    return {
        "CLAUDE_PROXY_ENGINE": engine,
        "CLAUDE_PROXY_MAX_CONCURRENT": str(slots),
        "CLAUDE_PROXY_HTTP_MAX_CONCURRENT": str(slots),
        "CLAUDE_PROXY_WARM_WORKERS": str(spares),
    }


def body_of(prompt: str, *, stream: bool = False) -> dict[str, Any]:
    """A request whose reservation is small."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": MODEL, "max_tokens": 50, "stream": stream, "messages": messages}


@dataclass(frozen=True, slots=True)
class Seen:
    """A client's answer. text: the body's."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def request_id(self) -> str:
        return self.headers["request-id"]

    @property
    def retry_after_s(self) -> int:
        return int(self.headers["retry-after"])

    @property
    def error(self) -> dict[str, Any]:
        """The error object, of a response or of the stream's last event; empty where there is none."""
        last = self.text.strip().rsplit("\n\n", 1)[-1]
        data = last.partition("data: ")[2] if last.startswith("event: ") else self.text
        try:
            found: dict[str, Any] = json.loads(data).get("error") or {}
        except ValueError:
            return {}
        return found

    def __str__(self) -> str:
        """The table's notation: `502 api_error`; `200, error event api_error`; `200`."""
        if self.status != 200:
            return f"{self.status} {self.error['type']}"
        if "event: error" in self.text:
            assert "event: message_stop" not in self.text, "an error and an end"
            return f"200, error event {self.error['type']}"
        if not self.text:
            return "nothing"
        if self.text.startswith("event: "):
            assert self.text.strip().endswith('data: {"type":"message_stop"}'), self.text[-300:]
        else:
            assert json.loads(self.text)["stop_reason"], self.text
        return "200"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A migrated SQLite database with KEYS, to start gateways on: making the keys takes half as long as a start."""

    database: Path
    secrets: Mapping[str, str]

    def put_into(self, process: GatewayProcess) -> GatewayProcess:
        """Gives a gateway that has not started yet a copy of it."""
        process.state_dir.mkdir(parents=True)
        shutil.copyfile(self.database, process.state_dir / "db.sqlite3")
        return process


def unruly_gateway(prepared: Prepared, folder: Path, env: Mapping[str, str]) -> GatewayProcess:
    """A gateway, not started yet, with two slots and one spare, whose workers are `unruly_cli` and look at the folder.

    env adds to its variables.
    """
    cli = folder / "cli"
    cli.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{unruly_cli.__file__}" "{folder}"\n')
    cli.chmod(0o755)
    slots = {"CLAUDE_PROXY_MAX_CONCURRENT": "2", "CLAUDE_PROXY_WARM_WORKERS": "1"}
    manage = (str(ROOT / "tests/support/odd_manage.py"), "--cli", str(cli))
    return prepared.put_into(
        GatewayProcess(folder / "gateway", upstream="http://127.0.0.1:9", env={**slots, **env}, manage=manage)
    )


class Watched:
    """A running gateway with KEYS, whose secrets are given."""

    def __init__(self, process: GatewayProcess, keys: Mapping[str, str]) -> None:
        self.process = process
        self.keys = keys

    def ask(self, prompt: str, *, stream: bool = False, key: str = "limited") -> Seen:
        """Answer to a client with that key."""
        with self.process.http(**{"x-api-key": self.keys[key]}) as client:
            response = client.post("/v1/messages", json=body_of(prompt, stream=stream))
        return Seen(response.status_code, response.text, response.headers)

    def ask_both_ways(self, prompt: str, *, key: str = "limited") -> tuple[Seen, Seen]:
        """Plain and streamed answers, requested at the same time."""
        with ThreadPoolExecutor(2) as pool:
            plain, streamed = pool.map(lambda stream: self.ask(prompt, stream=stream, key=key), (False, True))
        return plain, streamed

    def get(self, path: str) -> Any:
        """Answer of an operators' endpoint."""
        with self.process.http(**{"x-api-key": self.keys["operator"]}) as client:
            return client.get(path).raise_for_status().json()

    def trace(self, request_id: str, *, within_s: float = 10.0) -> str:
        """The request's trace in the table's notation: end reason, error, and phase."""

        def ended() -> Any:
            with self.process.http(**{"x-api-key": self.keys["operator"]}) as client:
                response = client.get(f"/debug/traces/{request_id}")
            return response.json() if response.status_code == 200 and response.json()["status"] != "active" else None

        found = eventually(ended, within_s=within_s, why=f"a trace of {request_id}")
        error = found["error"]
        if not error:
            return str(found["endReason"])
        return f"{found['endReason']}: {error['type']} after {error['phase']}"

    def last_trace(self) -> str:
        """The same of the newest request, for clients that got nothing."""
        (row,) = eventually(
            lambda: [row for row in self.get("/debug/traces?limit=1") if row["status"] != "active"], within_s=REST_S
        )
        return self.trace(row["reqId"])

    def unrest(self) -> dict[str, Any]:
        """Resources still in use: slots, queue places, requests, busy workers, reservations, unknown processes."""
        health, active = self.get("/debug/health"), self.get("/debug/active")["activeRequests"]
        workers = health["memory"]["workers"]
        known = {worker["pid"] for worker in workers}
        found = {
            "slots": health["queue"]["active"],
            "line": health["queue"]["waiting"],
            "requests": [request["reqId"] for request in active],
            "workers": [worker for worker in workers if worker["state"] != "idle"],
            "processes": [process.pid for process in self.process.workers() if process.pid not in known],
            "reservations": self.reservations(),
            "traces": health["traces"]["pending"],
        }
        return {name: value for name, value in found.items() if value}

    def reservations(self) -> int:
        """Runs that hold a part of their key's limits."""
        with closing(sqlite3.connect(self.process.state_dir / "db.sqlite3", timeout=5)) as database:
            query = "SELECT COUNT(*) FROM apiproxy_reservation WHERE settled_ms IS NULL"
            return int(database.execute(query).fetchone()[0])

    def comes_to_rest(self, *, within_s: float = REST_S) -> str:
        """`at rest`, once nothing is taken any more; AssertionError with what is."""
        last: dict[str, Any] = {}

        def at_rest() -> bool:
            nonlocal last
            try:
                last = self.unrest()
            except httpx.HTTPError as error:
                last = {"error": repr(error)}
            return not last

        try:
            eventually(at_rest, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"not at rest: {last}") from error
        return "at rest"
