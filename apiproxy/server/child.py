"""Control connection of a serve process to its supervisor."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ANNOUNCE = b"announce"
ANNOUNCE_UNREADY = b"announce unready"
ANNOUNCED = b"announced"
LEAVE = b"leave"
READY = b"ready"
UNREADY = b"unready"
HEARTBEAT = b"alive"
"""Lines of the control protocol.

From the process: READY (accepts requests), UNREADY (accepts requests, but no worker could be started), HEARTBEAT (the
event loop runs), ANNOUNCED (the banner was printed). From the supervisor: ANNOUNCE and ANNOUNCE_UNREADY (print the
banner, with or without workers), LEAVE (accept no new connections, and exit when the open ones have ended).
"""

HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class ChildSide:
    """Sockets and seat that a serve process inherits from its supervisor.

    listeners: shared listening sockets. control: connection to the supervisor. seat: its number among several
    processes; None where it is the only one.
    """

    listeners: tuple[socket.socket, ...]
    control: socket.socket
    seat: int | None

    @classmethod
    def parse(cls, text: str) -> "ChildSide":
        """Parses the `--as-child` option, as formatted by `option`."""
        *listeners, control, seat = text.split(",")
        sockets = tuple(socket.socket(fileno=int(it)) for it in listeners)
        return cls(sockets, socket.socket(fileno=int(control)), int(seat) if seat else None)

    @staticmethod
    def option(listeners: Sequence[socket.socket], control: socket.socket, seat: int | None) -> str:
        """Value of the `--as-child` option."""
        descriptors = [str(it.fileno()) for it in (*listeners, control)]
        return ",".join([*descriptors, "" if seat is None else str(seat)])

    @property
    def shared(self) -> bool:
        """True if other processes accept connections on the same sockets."""
        return self.seat is not None

    def report_started(self, warm: bool) -> None:
        self._send(READY if warm else UNREADY)

    def report_announced(self) -> None:
        self._send(ANNOUNCED)

    def watch(
        self, loop: asyncio.AbstractEventLoop, *, on_leave: Callable[[], None], on_announce: Callable[[bool], None]
    ) -> None:
        """Handles the supervisor's messages and sends heartbeats.

        Kills this process when the supervisor has died. On Linux the kernel does so too, unless the supervisor died
        before that was set up.
        """
        self.control.setblocking(False)

        def on_message() -> None:
            with contextlib.suppress(BlockingIOError):
                lines = self.control.recv(64).splitlines()  # short enough to arrive in one piece
                if not lines:
                    os.kill(os.getpid(), signal.SIGKILL)
                if ANNOUNCE in lines or ANNOUNCE_UNREADY in lines:
                    on_announce(ANNOUNCE in lines)
                if LEAVE in lines:
                    on_leave()

        def send_heartbeat() -> None:
            self._send(HEARTBEAT)
            loop.call_later(HEARTBEAT_S, send_heartbeat)

        loop.add_reader(self.control.fileno(), on_message)
        send_heartbeat()

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the supervisor has died, or is stopped and its buffer is full
            self.control.send(line + b"\n")
