"""A serve process as its supervisor sees it."""

import asyncio
import contextlib
import signal
import socket
from dataclasses import dataclass, field

from apiproxy.management.child import HEARTBEAT, LEAVE, READY, UNREADY


@dataclass(eq=False, slots=True)
class Child:
    """A serve process. seat: a small number that no other living one has. trial: a successor that is not ready yet."""

    place: int
    seat: int
    process: asyncio.subprocess.Process
    control: socket.socket
    began: float
    trial: bool
    started: asyncio.Future[bool] = field(repr=False)
    leaving: bool = False
    stuck: bool = False
    beating: bool = False
    silent_ticks: int = 0

    @property
    def ready(self) -> bool:
        """Whether it takes connections."""
        up = self.started.done() and not self.started.cancelled()
        return up and not (self.leaving or self.stuck) and self.process.returncode is None

    def heard(self, line: bytes) -> None:
        """Takes a line of its."""
        self.silent_ticks = 0
        if line == HEARTBEAT:
            self.beating = True
        elif line in (READY, UNREADY) and not self.started.done():
            self.started.set_result(line == READY)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def leave(self) -> None:
        """Asks it to end when its connections are done."""
        self.leaving = True
        with contextlib.suppress(OSError):
            self.control.send(LEAVE + b"\n")
