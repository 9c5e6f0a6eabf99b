"""The serve process's end of the line to its supervisor."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

LEAVE = b"leave\n"
READY = b"ready\n"
UNREADY = b"unready\n"
"""What a process and its supervisor say to each other: that it takes requests, or would if a worker could be started;
and that it is to take no new connections and to end when those that it has are done."""


@dataclass(frozen=True, slots=True)
class ChildSide:
    """What a child was given: the socket to listen on, the line to its supervisor, and its seat."""

    listener: socket.socket
    control: socket.socket
    seat: int

    @classmethod
    def parse(cls, text: str) -> "ChildSide":
        """From the option that the supervisor set."""
        listener, control, seat = map(int, text.split(","))
        return cls(socket.socket(fileno=listener), socket.socket(fileno=control), seat)

    def tell(self, warm: bool) -> None:
        """Says that the start is over."""
        with contextlib.suppress(OSError):
            self.control.send(READY if warm else UNREADY)

    def watch(self, loop: asyncio.AbstractEventLoop, on_leave: Callable[[], None]) -> None:
        """Listens to the supervisor; where that one has died, this process dies as well.

        (On Linux the kernel sees to it. The supervisor may have died before it could be told.)
        """
        self.control.setblocking(False)

        def heard() -> None:
            with contextlib.suppress(BlockingIOError):
                if not self.control.recv(64).startswith(LEAVE):
                    os.kill(os.getpid(), signal.SIGKILL)
                on_leave()

        loop.add_reader(self.control.fileno(), heard)
