"""The supervisor as a program of its own: `serve` turns into it, with the same process id.

It lives as long as the gateway does. With all that `serve` has imported by then it would take as much memory as a serve
process (110 MB); without, it takes a tenth of that. So this module and those that it imports need nothing but Python.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from apiproxy.server.supervisor import Supervisor

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from apiproxy.server import supervise; supervise.main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the supervisor is told. listener: a descriptor. command: what starts a serve process.

    counts: the folder in which the processes count together.
    """

    listener: int
    command: Sequence[str]
    processes: int
    drain_timeout_s: float
    watchdog_s: float
    on_terminal: bool
    counts: str


def become_supervisor(plan: Plan) -> NoReturn:
    """Replaces this program. The plan goes through a pipe: its command may hold what not everyone is to see."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        json.dump(asdict(plan), pipe)  # far less than a pipe holds
    for descriptor in (reading, plan.listener):
        os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-c", _PROGRAM, str(_ROOT), str(reading)])  # noqa: S606 — our own


def main() -> None:
    """Supervises until a signal. Exits with 1 where a process cannot start at all."""
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as pipe:
        plan = Plan(**json.load(pipe))
    listener = socket.socket(fileno=plan.listener)
    listener.set_inheritable(False)

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    supervisor = Supervisor(
        listener=listener,
        command=plan.command,
        processes=plan.processes,
        drain_timeout_s=plan.drain_timeout_s,
        watchdog_s=plan.watchdog_s,
        on_terminal=plan.on_terminal,
        say=say,
    )
    shutil.rmtree(plan.counts, ignore_errors=True)
    try:
        asyncio.run(supervisor.run())
    finally:
        shutil.rmtree(plan.counts, ignore_errors=True)
    if supervisor.failure is not None:
        sys.exit(supervisor.failure)
