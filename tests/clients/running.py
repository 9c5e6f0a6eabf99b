"""Runs a client's program against a gateway, and reads what it prints."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.clients.client import Client
from tests.clients.install import command
from tests.clients.results import Outcome
from tests.support.gateway import GatewayProcess
from tests.support.processes import clean_environment
from tests.support.stand_in import StandInProcess

ENGINES = ("sdk", "http")
_FEATURE_S = 120.0
_STDERR_CHARS = 2_000
_PASSED_ON = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_NO_PROXY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway with one engine and the stand-in behind it."""

    engine: str
    gateway: GatewayProcess
    upstream: StandInProcess


@contextmanager
def target(engine: str) -> Iterator[Target]:
    """A gateway in its default settings."""
    with tempfile.TemporaryDirectory(prefix="clients-") as name:
        folder = Path(name)
        upstream = StandInProcess(folder)
        try:
            gateway = GatewayProcess(folder, upstream=upstream.base_url, env={"CLAUDE_PROXY_ENGINE": engine}).start()
            try:
                yield Target(engine, gateway, upstream)
            finally:
                gateway.stop()
        finally:
            upstream.stop()


def exercise(client: Client, at: Target, *, features: Sequence[str] = ()) -> dict[str, Outcome]:
    """The outcome of each feature. A program that ends or hangs before it has told fails the feature it was at."""
    missing = list(features or client.features)
    outcomes: dict[str, Outcome] = {}
    while missing:
        told, why = _run(client, at, missing)
        outcomes |= told
        missing = [name for name in missing if name not in told]
        if missing:
            outcomes[missing.pop(0)] = Outcome(ok=False, detail=why)
    return outcomes


def _run(client: Client, at: Target, features: Sequence[str]) -> tuple[dict[str, Outcome], str]:
    """The program's output lines, and the reason for missing ones."""
    start, variables = command(client)
    with tempfile.TemporaryDirectory(prefix="client-") as name:
        work, home = Path(name) / "work", Path(name) / "home"
        work.mkdir()
        home.mkdir()
        env = {
            **clean_environment(**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}),
            **_NO_PROXY,
            **variables,
            "HOME": str(home),
            "TMPDIR": name,
            "GATEWAY_URL": at.gateway.base_url,
            "GATEWAY_KEY": at.gateway.api_key,
            "UPSTREAM_URL": at.upstream.base_url,
            "MODEL": client.model,
            "WORK": str(work),
            "ENGINE": at.engine,
        }
        return told([*start, *features], work, env, within_s=_FEATURE_S * len(features))


def told(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str], *, within_s: float
) -> tuple[dict[str, Outcome], str]:
    printed = folder.parent / "stdout"
    errors = folder.parent / "stderr"
    with printed.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            arguments, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            code: int | None = process.wait(within_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    end = errors.read_text(encoding="utf-8", errors="replace")[-_STDERR_CHARS:]
    why = f"no result within {within_s:.0f} s: {end}" if code is None else f"exit code {code}: {end}"
    return dict(_outcomes(printed.read_text(encoding="utf-8", errors="replace"))), why


def _outcomes(printed: str) -> Iterator[tuple[str, Outcome]]:
    for line in printed.splitlines():
        if line.startswith('{"feature"'):
            told = json.loads(line)
            yield told["feature"], Outcome(ok=told["ok"], detail=told.get("detail", ""), skip=told.get("skip", ""))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what the program has left behind; it leads a process group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()
