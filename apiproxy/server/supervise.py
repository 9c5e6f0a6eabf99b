"""Entry point of the supervisor: `serve` replaces itself with this program, under the same process id.

With everything that `serve` has imported, the supervisor would take 110 MB; without, a tenth of that. So this module
and its imports need only the standard library.
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
    """Arguments of the supervisor.

    listeners: file descriptors of the listening sockets. command: starts a serve process. counts: folder of the metrics
    that the processes share.
    """

    listeners: Sequence[int]
    command: Sequence[str]
    processes: int
    drain_timeout_s: float
    watchdog_s: float
    on_terminal: bool
    counts: str


def become_supervisor(plan: Plan) -> NoReturn:
    """Replaces this program. The plan goes through a pipe: its command may contain secrets."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        json.dump(asdict(plan), pipe)  # fits the buffer of a pipe
    for descriptor in (reading, *plan.listeners):
        os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-c", _PROGRAM, str(_ROOT), str(reading)])  # noqa: S606 — our own


def main() -> None:
    """Supervises until a signal. Exits with 1 where no process can start."""
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as pipe:
        plan = Plan(**json.load(pipe))
    listeners = [socket.socket(fileno=descriptor) for descriptor in plan.listeners]
    for listener in listeners:
        listener.set_inheritable(False)

    def print_line(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    supervisor = Supervisor(
        listeners=listeners,
        command=plan.command,
        processes=plan.processes,
        drain_timeout_s=plan.drain_timeout_s,
        watchdog_s=plan.watchdog_s,
        on_terminal=plan.on_terminal,
        print_line=print_line,
    )
    shutil.rmtree(plan.counts, ignore_errors=True)
    try:
        asyncio.run(supervisor.run())
    finally:
        shutil.rmtree(plan.counts, ignore_errors=True)
    if supervisor.failure is not None:
        sys.exit(supervisor.failure)
