"""A serve process as its supervisor sees it."""

import asyncio
import contextlib
import signal
import socket
from dataclasses import dataclass, field

from apiproxy.server.child import ANNOUNCE, ANNOUNCE_UNREADY, ANNOUNCED, HEARTBEAT, LEAVE, READY, UNREADY


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
    announced: asyncio.Future[bool] = field(repr=False)
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
        elif line == ANNOUNCED and not self.announced.done():
            self.announced.set_result(True)

    def announce(self, warm: bool) -> None:
        """Asks it to tell the operator that all processes take requests. warm: workers could be started."""
        with contextlib.suppress(OSError):
            self.control.send((ANNOUNCE if warm else ANNOUNCE_UNREADY) + b"\n")

    def ended(self) -> None:
        """It says nothing more."""
        for said in (self.started, self.announced):
            if not said.done():
                said.set_result(False)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def leave(self) -> None:
        """Asks it to end when its connections are done."""
        self.leaving = True
        with contextlib.suppress(OSError):
            self.control.send(LEAVE + b"\n")
