"""The serve processes on one socket: started, started again when they die, renewed one after another, ended.

The supervisor answers no request and asks no database. It holds the socket, so that a connection which nobody has taken
yet is not lost when a process ends.
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
from apiproxy.server.turned_away import TurnedAway

_FIRST_PAUSE_S = 0.5
_MAX_PAUSE_S = 30.0
_ALONE_PAUSE_S = 2.0
"""The longest pause while no other process takes connections."""
_STEADY_S = 60.0
"""A process that lives so long had no fault in its start: the next pause is the first one again."""
_START_S = 120.0
_TICK_S = 1.0
_MIN_WATCHDOG_TICKS = 3
_UNANSWERED_S = 5.0
"""How long a connection waits for a process that is being started; then the supervisor itself refuses it."""
_END_MARGIN_S = 40.0
"""Beyond the drain's limit: for the last answers, traces and workers."""


class Supervisor:
    """Lives on one event loop. say writes a line to the operator's console.

    command: what starts a serve process. watchdog_s: how long a process's event loop may be stuck before the process is
    killed and replaced; 0: for ever. on_terminal: SIGHUP says that the terminal was closed, and ends the processes as
    SIGTERM does.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        command: Sequence[str],
        processes: int,
        drain_timeout_s: float,
        watchdog_s: float,
        on_terminal: bool,
        say: Callable[[str], None],
    ) -> None:
        self._listener = listener
        self._command = command
        self._processes = processes
        self._end_timeout_s = drain_timeout_s + _END_MARGIN_S
        self._watchdog_ticks = max(_MIN_WATCHDOG_TICKS, math.ceil(watchdog_s / _TICK_S)) if watchdog_s else 0
        self._on_terminal = on_terminal
        self._tell_operator = say
        self._turned_away = TurnedAway(listener)
        self._unanswered_ticks = 0
        self._children: set[Child] = set()
        self._seats: set[int] = set()
        self._failures: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing = False
        self._renew_again = False
        self._stopping = False
        self._up = False
        self._over = asyncio.Event()
        self.failure: str | None = None

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, and until the last process is gone then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        watch = asyncio.create_task(self._watch())
        children = [await self._start(place) for place in range(self._processes)]
        warm = await asyncio.gather(*(child.started for child in children))
        if not self._stopping:
            await self._announce(children[0], warm=all(warm))
        await self._over.wait()
        watch.cancel()
        self._turned_away.close()

    async def _announce(self, child: Child, *, warm: bool) -> None:
        """Has a process tell the operator; without that, and the first key and password in it, the start has failed."""
        child.announce(warm)
        try:
            async with asyncio.timeout(_START_S):
                self._up = await asyncio.shield(child.announced)
        except TimeoutError:
            self._up = False
        if not self._up and not self._stopping:
            self.failure = self.failure or "The gateway could not start: no process could tell the operator."
            self._on_stop()

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            self._tell_operator(line)

    def _on_hangup(self) -> None:
        if not self._on_terminal:
            self._on_renew()
        elif not self._stopping:  # a terminal may say it twice, and a second stop is one at once
            self._on_stop()

    def _on_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._spawn(self._kill_late())
        for child in self._children:
            child.signal(signal.SIGTERM)
        self._end_if_alone()

    def _on_renew(self) -> None:
        if self._renewing:
            self._renew_again = True
        elif self._up and not self._stopping:
            self._renewing = True
            self._spawn(self._renew_all())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, place: int, *, trial: bool = False) -> Child:
        seat = min(set(range(len(self._seats) + 1)) - self._seats)
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        self._seats.add(seat)
        option = ChildSide.option(self._listener, theirs, seat if self._processes > 1 else None)
        try:
            process = await asyncio.create_subprocess_exec(
                *(*parent_death_prefix(), *self._command, "--as-child", option),
                pass_fds=(self._listener.fileno(), theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is for the supervisor, which passes it on once
            )
        except BaseException:
            ours.close()
            self._seats.discard(seat)
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        child = Child(place, seat, process, ours, loop.time(), trial, loop.create_future(), loop.create_future())
        self._children.add(child)
        if self._stopping:
            child.signal(signal.SIGTERM)
        self._spawn(self._follow(child))
        return child

    async def _follow(self, child: Child) -> None:
        """From the start of a process to its end."""
        hearing = asyncio.create_task(self._hear(child))
        code = await child.process.wait()
        hearing.cancel()
        child.control.close()
        self._children.discard(child)
        self._seats.discard(child.seat)
        child.ended()
        if self._stopping:
            self._end_if_alone()
        elif not self._up:
            self.failure = f"A process could not start: it ended with {code}."
            self._on_stop()
        elif not (child.leaving or child.trial or self._has_successor(child)):
            await self._start_again(child, code)

    def _has_successor(self, child: Child) -> bool:
        """Whether another process has its place, or is to have it. One that leaves has given it up."""
        others = [other for other in self._children if other.place == child.place and not other.leaving]
        return any(other.process.returncode is None for other in others)

    async def _hear(self, child: Child) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        with contextlib.suppress(OSError):
            while said := await loop.sock_recv(child.control, 1_024):
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    child.heard(line)
                if child.ready:
                    self._turned_away.close()

    async def _watch(self) -> None:
        """Kills processes whose event loop is stuck, and refuses connections while there is no process to take them.

        It counts its own turns and not the time: after a sleep of the machine, or a stop of the supervisor, it has to
        be awake itself as long as a process may be silent.
        """
        start_ticks = math.ceil(_START_S / _TICK_S)
        while True:
            await asyncio.sleep(_TICK_S)
            if os.getpid() == 1:
                reap_orphans({child.process.pid for child in self._children})
            for child in self._children:
                child.silent_ticks += 1
                limit = self._watchdog_ticks if child.beating else start_ticks
                if self._watchdog_ticks and child.silent_ticks > limit and not child.stuck:
                    child.stuck = True
                    self._say(f"Process {child.process.pid} is stuck: its event loop has not run for {limit} s.")
                    child.signal(signal.SIGKILL)
            if self._stopping or any(child.ready for child in self._children):
                self._unanswered_ticks = 0
                self._turned_away.close()
                continue
            self._unanswered_ticks += 1
            if self._unanswered_ticks > _UNANSWERED_S / _TICK_S:
                with contextlib.suppress(OSError):  # no descriptor is left: the next turn tries again
                    await self._turned_away.open()

    async def _start_again(self, child: Child, code: int) -> None:
        steady = asyncio.get_running_loop().time() - child.began >= _STEADY_S
        failures = self._failures[child.place] = 1 if steady else self._failures.get(child.place, 0) + 1
        longest_s = _MAX_PAUSE_S if any(other.ready for other in self._children) else _ALONE_PAUSE_S
        # One that was stuck has waited long enough.
        pause_s = 0.0 if child.stuck else min(longest_s, _FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
        self._say(f"Process {child.process.pid} ended with {code}; another is started in {pause_s:g} s.")
        await self._fill(child, pause_s)

    async def _fill(self, gone: Child, pause_s: float) -> None:
        """Starts a process in the place of one that is gone, as soon as the machine lets it."""
        await asyncio.sleep(pause_s)
        while not (self._stopping or self._has_successor(gone)):
            try:
                await self._start(gone.place)
            except OSError as error:  # no memory, no process id or no descriptor is left
                self._say(f"No process can be started now ({error.strerror}); again in {_ALONE_PAUSE_S:g} s.")
                await asyncio.sleep(_ALONE_PAUSE_S)

    async def _renew_all(self) -> None:
        self._say("Renewing the processes, one after another.")
        for old in sorted(self._children, key=lambda child: child.place):
            if self._stopping or not await self._renew(old):
                break
        else:
            self._say("All processes are renewed.")
        self._renewing = False
        if self._renew_again:
            self._renew_again = False
            self._on_renew()

    async def _renew(self, old: Child) -> bool:
        """Starts the successor of a process and ends that one, whose answers go on to their end."""
        if old not in self._children:  # it has died meanwhile: its successor is new already
            return True
        try:
            new = await self._start(old.place, trial=True)
        except OSError as error:
            self._say(f"No new process can be started ({error.strerror}): the others stay as they are.")
            return False
        try:
            async with asyncio.timeout(_START_S):
                ready = await asyncio.shield(new.started)
        except TimeoutError:
            ready = False
        if not ready:
            self._say("The new process could not start: the others stay as they are.")
            new.signal(signal.SIGKILL)
            await new.process.wait()
            if old not in self._children:  # it relied on this one
                await self._fill(old, 0.0)
            return False
        new.trial = False
        old.leave()
        try:
            async with asyncio.timeout(self._end_timeout_s):
                await old.process.wait()
        except TimeoutError:
            old.signal(signal.SIGKILL)
        return True

    async def _kill_late(self) -> None:
        await asyncio.sleep(self._end_timeout_s)
        for child in self._children:  # one whose start was under way at the stop too
            child.signal(signal.SIGKILL)

    def _end_if_alone(self) -> None:
        if self._stopping and not self._children:
            self._over.set()
