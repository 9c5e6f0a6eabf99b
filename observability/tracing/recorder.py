"""Run observer that keeps a trace of every running turn and notifies listeners."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from apiproxy.core.events import Cancelled, Event, Failed, Finished, Queued, Rejected, Step, Stepped, Streamed
from apiproxy.core.turns import Turn
from observability.tracing.model_labels import ModelNames
from observability.tracing.trace_builder import ActiveTrace

logger = logging.getLogger(__name__)

MAX_ACTIVE = 20_000
"""Maximum concurrent turns recorded; the runtime's own limits are far below."""

STALL_AFTER_S = 30.0
"""Upstream silence that counts as a stall at each call of `count_stalls`."""

_MAX_ENDED = 4_096

_OPENINGS = (Queued, Rejected, Finished, Failed, Cancelled)


class Listener:
    """Callbacks on the event loop's thread, no-ops by default.

    They must not block. Exceptions are logged and ignored.
    """

    def started(self, trace: ActiveTrace) -> None:
        """First event of a turn; not called if the turn ended with it."""

    def changed(self, trace: ActiveTrace) -> None:
        """New phase or retry; not called for every batch of the stream."""

    def stepped(self, trace: ActiveTrace, step: Step) -> None:
        """A step of an agent's run has begun or ended."""

    def stalled(self, trace: ActiveTrace) -> None:
        """No upstream event for `STALL_AFTER_S`; called at every check until one arrives."""

    def ended(self, trace: ActiveTrace) -> None:
        """End of the turn: the trace no longer changes."""


class Recorder:
    """Implementation of `apiproxy.runs.observers.Observer`.

    on_gap: called with the seconds between consecutive output batches of a run; hot path.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        names: ModelNames,
        on_gap: Callable[[float], None] | None = None,
    ) -> None:
        self._listeners = list(listeners)
        self._names = names
        self._on_gap = on_gap
        self._active: dict[str, ActiveTrace] = {}
        # Else a late event would reopen a turn, and a second ending would count it twice.
        self._ended: deque[str] = deque(maxlen=_MAX_ENDED)
        self._ended_ids: set[str] = set()
        self.overflowed = 0

    def on_event(self, turn: Turn, event: Event) -> None:
        trace = self._active.get(turn.id)
        if trace is None:
            self._open(turn, event)
        elif type(event) is Streamed:
            before = trace.last_event_at if trace.first_token_at is not None else None
            if trace.add_stream(event.at, event.events, event.headers):
                self._phase_changed(trace)
            elif before is not None and self._on_gap is not None:
                self._on_gap(trace.latest - before)
        elif trace.apply(event):
            self._close(trace) if trace.ended else self._phase_changed(trace)
        elif type(event) is Stepped and trace.steps is not None:
            self._notify(lambda listener: partial(_stepped, listener, event.step), trace)

    def add_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def active(self) -> list[ActiveTrace]:
        """Running turns, oldest first."""
        return list(self._active.values())

    def find(self, turn_id: str) -> ActiveTrace | None:
        return self._active.get(turn_id)

    def count_stalls(self, now: float | None = None) -> int:
        """Count a stall for every run without an upstream event for `STALL_AFTER_S`; the number of such runs."""
        now, stalled = time.time() if now is None else now, 0
        for trace in self.active():
            since = trace.last_event_at or trace.worker_ready_at
            if since is not None and now - since >= STALL_AFTER_S:
                trace.stalls += 1
                stalled += 1
                self._notify(lambda listener: listener.stalled, trace)
        return stalled

    def _open(self, turn: Turn, event: Event) -> None:
        if turn.id in self._ended_ids or not isinstance(event, _OPENINGS):
            return
        if len(self._active) >= MAX_ACTIVE:
            self.overflowed += 1
            return
        trace = ActiveTrace(turn)
        trace.apply(event)
        if trace.ended:
            self._close(trace)
        else:
            self._active[turn.id] = trace
            self._notify(lambda listener: listener.started, trace)

    def _phase_changed(self, trace: ActiveTrace) -> None:
        if trace.response_id:
            self._names.learn(trace.turn.model)
        self._notify(lambda listener: listener.changed, trace)

    def _close(self, trace: ActiveTrace) -> None:
        if trace.response_id:
            self._names.learn(trace.turn.model)
        trace.model_label = self._names.label(trace.turn.model)
        self._active.pop(trace.id, None)
        if len(self._ended) == _MAX_ENDED:
            self._ended_ids.discard(self._ended[0])
        self._ended.append(trace.id)
        self._ended_ids.add(trace.id)
        self._notify(lambda listener: listener.ended, trace)

    def _notify(self, hook: Callable[[Listener], Callable[[ActiveTrace], None]], trace: ActiveTrace) -> None:
        for listener in self._listeners:
            try:
                hook(listener)(trace)
            except Exception:  # a broken listener must not affect the others
                logger.exception("listener.failed", extra={"reqId": trace.id, "listener": type(listener).__name__})


def _stepped(listener: Listener, step: Step, trace: ActiveTrace) -> None:
    listener.stepped(trace, step)
