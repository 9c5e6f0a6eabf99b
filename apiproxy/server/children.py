"""Serve process, from the supervisor's side."""

import asyncio
import contextlib
import signal
import socket
from dataclasses import dataclass, field

from apiproxy.server.child import ANNOUNCE, ANNOUNCE_UNREADY, ANNOUNCED, HEARTBEAT, LEAVE, READY, UNREADY


@dataclass(eq=False, slots=True)
class Child:
    """A serve process.

    seat: smallest number that no other living process has. replacement: started to replace another process and not
    ready yet. leaving: accepts no connections any more. stuck: killed by the watchdog.
    """

    place: int
    seat: int
    process: asyncio.subprocess.Process
    control: socket.socket
    began: float
    replacement: bool
    started: asyncio.Future[bool] = field(repr=False)
    announced: asyncio.Future[bool] = field(repr=False)
    leaving: bool = False
    stuck: bool = False
    sends_heartbeats: bool = False
    silent_ticks: int = 0

    @property
    def ready(self) -> bool:
        """True if it accepts connections."""
        up = self.started.done() and not self.started.cancelled()
        return up and not (self.leaving or self.stuck) and self.process.returncode is None

    def on_message(self, line: bytes) -> None:
        self.silent_ticks = 0
        if line == HEARTBEAT:
            self.sends_heartbeats = True
        elif line in (READY, UNREADY) and not self.started.done():
            self.started.set_result(line == READY)
        elif line == ANNOUNCED and not self.announced.done():
            self.announced.set_result(True)

    def announce(self, warm: bool) -> None:
        """Asks it to print the banner. warm: workers could be started."""
        with contextlib.suppress(OSError):
            self.control.send((ANNOUNCE if warm else ANNOUNCE_UNREADY) + b"\n")

    def on_exit(self) -> None:
        for reported in (self.started, self.announced):
            if not reported.done():
                reported.set_result(False)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has exited."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def leave(self) -> None:
        """Asks it to accept no new connections and to exit when the open ones have ended."""
        self.leaving = True
        with contextlib.suppress(OSError):
            self.control.send(LEAVE + b"\n")
