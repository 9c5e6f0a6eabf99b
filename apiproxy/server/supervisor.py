"""Supervisor of the serve processes on one address: starts, restarts and renews them.

It answers no request and uses no database. It holds the listening sockets, so that pending connections survive the end
of a process.
"""

import asyncio
import contextlib
import math
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from apiproxy.core.parent_death import parent_death_prefix
from apiproxy.server.child import ChildSide
from apiproxy.server.children import Child
from apiproxy.server.orphans import reap_orphans
from apiproxy.server.unavailable import UnavailableResponder

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_MAX_OUTAGE_BACKOFF_S = 2.0
"""Maximum backoff while no other process accepts connections."""
_STABLE_S = 60.0
"""Uptime after which the backoff of a place is reset."""
_START_S = 120.0
_TICK_S = 1.0
_MIN_WATCHDOG_TICKS = 3
_UNANSWERED_S = 5.0
"""Maximum wait of connections for a starting process, before the supervisor itself answers 503."""
_END_MARGIN_S = 40.0
"""Added to the drain timeout, for the last responses, traces and workers."""


class Supervisor:
    """Runs on one event loop.

    command: starts a serve process. watchdog_s: kills a process whose event loop blocks for so long; 0: never.
    on_terminal: SIGHUP means a closed terminal and acts as SIGTERM. print_line: writes to the operator's console.
    """

    def __init__(
        self,
        *,
        listeners: Sequence[socket.socket],
        command: Sequence[str],
        processes: int,
        drain_timeout_s: float,
        watchdog_s: float,
        on_terminal: bool,
        print_line: Callable[[str], None],
    ) -> None:
        self._listeners = listeners
        self._command = command
        self._processes = processes
        self._end_timeout_s = drain_timeout_s + _END_MARGIN_S
        self._watchdog_ticks = max(_MIN_WATCHDOG_TICKS, math.ceil(watchdog_s / _TICK_S)) if watchdog_s else 0
        self._on_terminal = on_terminal
        self._print_line = print_line
        self._unavailable = UnavailableResponder(*listeners)
        self._unanswered_ticks = 0
        self._children: set[Child] = set()
        self._seats: set[int] = set()
        self._failures: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_renewing = False
        self._renewal_requested = False
        self._stopping = False
        self._is_up = False
        self._finished = asyncio.Event()
        self.failure: str | None = None

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT, and then until the last process has exited."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        watchdog = asyncio.create_task(self._watch())
        children = [await self._start(place) for place in range(self._processes)]
        warm = await asyncio.gather(*(child.started for child in children))
        if not self._stopping:
            await self._announce(children[0], warm=all(warm))
        await self._finished.wait()
        watchdog.cancel()
        self._unavailable.close()

    async def _announce(self, child: Child, *, warm: bool) -> None:
        """Tells a process to print the banner.

        The start fails without it, because it may show the first key and password.
        """
        child.announce(warm)
        try:
            async with asyncio.timeout(_START_S):
                self._is_up = await asyncio.shield(child.announced)
        except TimeoutError:
            self._is_up = False
        if not self._is_up and not self._stopping:
            self.failure = self.failure or "The gateway could not start: no process could print the banner."
            self._on_stop()

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            self._print_line(line)

    def _on_hangup(self) -> None:
        if not self._on_terminal:
            self._on_renew()
        elif not self._stopping:  # a terminal may send it twice, and a second stop skips the drain
            self._on_stop()

    def _on_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._spawn(self._kill_after_timeout())
        for child in self._children:
            child.signal(signal.SIGTERM)
        self._finish_if_empty()

    def _on_renew(self) -> None:
        if self._is_renewing:
            self._renewal_requested = True
        elif self._is_up and not self._stopping:
            self._is_renewing = True
            self._spawn(self._renew_all())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, place: int, *, replacement: bool = False) -> Child:
        seat = min(set(range(len(self._seats) + 1)) - self._seats)
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        self._seats.add(seat)
        option = ChildSide.option(self._listeners, theirs, seat if self._processes > 1 else None)
        try:
            process = await asyncio.create_subprocess_exec(
                *(*parent_death_prefix(), *self._command, "--as-child", option),
                pass_fds=(*(listener.fileno() for listener in self._listeners), theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which forwards it once
            )
        except BaseException:  # including cancellation: else the socket and the seat would be lost
            ours.close()
            self._seats.discard(seat)
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        child = Child(place, seat, process, ours, loop.time(), replacement, loop.create_future(), loop.create_future())
        self._children.add(child)
        if self._stopping:
            child.signal(signal.SIGTERM)
        self._spawn(self._monitor(child))
        return child

    async def _monitor(self, child: Child) -> None:
        """Reads the messages of a process and waits for its exit."""
        reading = asyncio.create_task(self._read_messages(child))
        code = await child.process.wait()
        reading.cancel()
        child.control.close()
        self._children.discard(child)
        self._seats.discard(child.seat)
        child.on_exit()
        if self._stopping:
            self._finish_if_empty()
        elif not self._is_up:
            self.failure = f"A process could not start: it exited with {code}."
            self._on_stop()
        elif not (child.leaving or child.replacement or self._has_replacement(child)):
            await self._restart(child, code)

    def _has_replacement(self, child: Child) -> bool:
        """True if another process runs in the same place. One that is leaving does not count."""
        others = [other for other in self._children if other.place == child.place and not other.leaving]
        return any(other.process.returncode is None for other in others)

    async def _read_messages(self, child: Child) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        with contextlib.suppress(OSError):
            while received := await loop.sock_recv(child.control, 1_024):
                *lines, rest = (rest + received).split(b"\n")
                for line in lines:
                    child.on_message(line)
                if child.ready:
                    self._unavailable.close()

    async def _watch(self) -> None:
        """Kills processes whose event loop is blocked.

        Also answers connections with 503 while no process accepts them.
        It counts its own ticks, not seconds: after the machine was suspended, or the supervisor stopped, a process
        still gets the whole timeout to send a heartbeat.
        """
        start_ticks = math.ceil(_START_S / _TICK_S)
        while True:
            await asyncio.sleep(_TICK_S)
            if os.getpid() == 1:
                reap_orphans({child.process.pid for child in self._children})
            for child in self._children:
                child.silent_ticks += 1
                limit = self._watchdog_ticks if child.sends_heartbeats else start_ticks
                if self._watchdog_ticks and child.silent_ticks > limit and not child.stuck:
                    child.stuck = True
                    self._print(f"Process {child.process.pid} is stuck: its event loop has not run for {limit} s.")
                    child.signal(signal.SIGKILL)
            if self._stopping or any(child.ready for child in self._children):
                self._unanswered_ticks = 0
                self._unavailable.close()
                continue
            self._unanswered_ticks += 1
            if self._unanswered_ticks > _UNANSWERED_S / _TICK_S:
                with contextlib.suppress(OSError):  # no file descriptor left: retried at the next tick
                    await self._unavailable.open()

    async def _restart(self, child: Child, code: int) -> None:
        stable = asyncio.get_running_loop().time() - child.began >= _STABLE_S
        failures = self._failures[child.place] = 1 if stable else self._failures.get(child.place, 0) + 1
        max_s = _MAX_BACKOFF_S if any(other.ready for other in self._children) else _MAX_OUTAGE_BACKOFF_S
        # The watchdog timeout of a stuck process was delay enough.
        backoff_s = 0.0 if child.stuck else min(max_s, _FIRST_BACKOFF_S * 2 ** min(failures - 1, 10))
        self._print(f"Process {child.process.pid} ended with {code}; another is started in {backoff_s:g} s.")
        await self._start_replacement(child, backoff_s)

    async def _start_replacement(self, exited: Child, backoff_s: float) -> None:
        """Starts a process in the place of one that has exited, and retries until that succeeds."""
        await asyncio.sleep(backoff_s)
        while not (self._stopping or self._has_replacement(exited)):
            try:
                await self._start(exited.place)
            except OSError as error:  # out of memory, process ids or file descriptors
                self._print(f"No process can be started ({error.strerror}); retrying in {_MAX_OUTAGE_BACKOFF_S:g} s.")
                await asyncio.sleep(_MAX_OUTAGE_BACKOFF_S)

    async def _renew_all(self) -> None:
        self._print("Replacing the processes one after another.")
        for old in sorted(self._children, key=lambda child: child.place):
            if self._stopping or not await self._renew(old):
                break
        else:
            self._print("All processes have been replaced.")
        self._is_renewing = False
        if self._renewal_requested:
            self._renewal_requested = False
            self._on_renew()

    async def _renew(self, old: Child) -> bool:
        """Starts a replacement, then drains the old process.

        Returns False if the replacement could not start.
        """
        if old not in self._children:  # it has died and been replaced already
            return True
        try:
            new = await self._start(old.place, replacement=True)
        except OSError as error:
            self._print(f"No new process can be started ({error.strerror}): the old ones continue.")
            return False
        try:
            async with asyncio.timeout(_START_S):
                ready = await asyncio.shield(new.started)
        except TimeoutError:
            ready = False
        if not ready:
            self._print("The new process could not start: the old ones continue.")
            new.signal(signal.SIGKILL)
            await new.process.wait()
            if old not in self._children:  # it has died: `_monitor` left its place to the replacement
                await self._start_replacement(old, 0.0)
            return False
        new.replacement = False
        old.leave()
        try:
            async with asyncio.timeout(self._end_timeout_s):
                await old.process.wait()
        except TimeoutError:
            old.signal(signal.SIGKILL)
        return True

    async def _kill_after_timeout(self) -> None:
        await asyncio.sleep(self._end_timeout_s)
        for child in self._children:  # including one that was just being started
            child.signal(signal.SIGKILL)

    def _finish_if_empty(self) -> None:
        if self._stopping and not self._children:
            self._finished.set()
