"""The serve process's end of the line to its supervisor."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

ANNOUNCE = b"announce"
ANNOUNCE_UNREADY = b"announce unready"
ANNOUNCED = b"announced"
LEAVE = b"leave"
READY = b"ready"
UNREADY = b"unready"
HEARTBEAT = b"alive"
"""Lines between a process and its supervisor: that it takes requests, or would if a worker could be started; that its
event loop runs; that it is to tell the operator, with or without workers, and that it has; and that it is to take no
new connections and to end when those that it has are done."""

HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class ChildSide:
    """What a serve process was given: the socket to listen on, the line to its supervisor, and its seat.

    seat is None where it is the only process; then it does not share its connections either.
    """

    listener: socket.socket
    control: socket.socket
    seat: int | None

    @classmethod
    def parse(cls, text: str) -> "ChildSide":
        """From the option that the supervisor set (`option`)."""
        listener, control, seat = text.split(",")
        return cls(socket.socket(fileno=int(listener)), socket.socket(fileno=int(control)), int(seat) if seat else None)

    @staticmethod
    def option(listener: socket.socket, control: socket.socket, seat: int | None) -> str:
        """The same as text."""
        return f"{listener.fileno()},{control.fileno()},{'' if seat is None else seat}"

    @property
    def shared(self) -> bool:
        """Whether other processes take connections from the socket as well."""
        return self.seat is not None

    def tell(self, warm: bool) -> None:
        """Says that the start is over."""
        self._send(READY if warm else UNREADY)

    def announced(self) -> None:
        """Says that the operator knows."""
        self._send(ANNOUNCED)

    def watch(
        self, loop: asyncio.AbstractEventLoop, *, on_leave: Callable[[], None], on_announce: Callable[[bool], None]
    ) -> None:
        """Listens to the supervisor, and lets it hear that the loop runs.

        Where the supervisor has died, this process dies as well. (On Linux the kernel sees to it. The supervisor may
        have died before it could be told.)
        """
        self.control.setblocking(False)

        def heard() -> None:
            with contextlib.suppress(BlockingIOError):
                lines = self.control.recv(64).splitlines()  # short enough to come whole
                if not lines:
                    os.kill(os.getpid(), signal.SIGKILL)
                if ANNOUNCE in lines or ANNOUNCE_UNREADY in lines:
                    on_announce(ANNOUNCE in lines)
                if LEAVE in lines:
                    on_leave()

        def beat() -> None:
            self._send(HEARTBEAT)
            loop.call_later(HEARTBEAT_S, beat)

        loop.add_reader(self.control.fileno(), heard)
        beat()

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, or stopped and its buffer full
            self.control.send(line + b"\n")
