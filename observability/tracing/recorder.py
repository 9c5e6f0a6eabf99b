"""The observer: keeps a draft of every turn that is under way and tells its listeners what became of it."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from apiproxy.core.events import Cancelled, Event, Failed, Finished, Queued, Rejected, Streamed
from apiproxy.core.turns import Turn
from observability.tracing.model_labels import ModelNames
from observability.tracing.trace_builder import ActiveTrace

logger = logging.getLogger(__name__)

MAX_ACTIVE = 20_000
"""Turns under way at once that are recorded; the runtime's own limits are far below."""

STALL_AFTER_S = 30.0
"""Silence of the upstream that counts as a stall, each time `count_stalls` finds it."""

_MAX_ENDED = 4_096

_OPENINGS = (Queued, Rejected, Finished, Failed, Cancelled)


class Listener:
    """Callbacks on the event loop's thread, no-ops by default. Must not block; exceptions are logged and ignored."""

    def started(self, draft: ActiveTrace) -> None:
        """First event of a turn; not called if the turn ended with it."""

    def changed(self, draft: ActiveTrace) -> None:
        """New phase or retry; not called for every batch of the stream."""

    def stalled(self, draft: ActiveTrace) -> None:
        """No upstream event for `STALL_AFTER_S`; called at every check until one arrives."""

    def ended(self, draft: ActiveTrace) -> None:
        """End of the turn: the trace no longer changes."""


class Recorder:
    """The `apiproxy.runs.observers.Observer` of this package.

    on_gap hears the seconds between two arrivals of output within a run; it is called often.
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
        # A late event must not bring a turn back to life, nor a second ending count it twice.
        self._ended: deque[str] = deque(maxlen=_MAX_ENDED)
        self._ended_ids: set[str] = set()
        self.overflowed = 0

    def on_event(self, turn: Turn, event: Event) -> None:
        """Takes the event in."""
        draft = self._active.get(turn.id)
        if draft is None:
            self._open(turn, event)
        elif type(event) is Streamed:
            before = draft.last_event_at if draft.first_token_at is not None else None
            if draft.add_stream(event.at, event.events):
                self._phase_changed(draft)
            elif before is not None and self._on_gap is not None:
                self._on_gap(draft.latest - before)
        elif draft.apply(event):
            self._close(draft) if draft.ended else self._phase_changed(draft)

    def add_listener(self, listener: Listener) -> None:
        """Adds a listener for all that comes from now on."""
        self._listeners.append(listener)

    def active(self) -> list[ActiveTrace]:
        """The turns under way, the oldest first."""
        return list(self._active.values())

    def find(self, turn_id: str) -> ActiveTrace | None:
        """The turn under way with that id."""
        return self._active.get(turn_id)

    def count_stalls(self, now: float | None = None) -> int:
        """Adds a stall to every run whose upstream has been silent for `STALL_AFTER_S`; how many there are."""
        now, stalled = time.time() if now is None else now, 0
        for draft in self.active():
            since = draft.last_event_at or draft.worker_ready_at
            if since is not None and now - since >= STALL_AFTER_S:
                draft.stalls += 1
                stalled += 1
                self._notify(lambda listener: listener.stalled, draft)
        return stalled

    def _open(self, turn: Turn, event: Event) -> None:
        if turn.id in self._ended_ids or not isinstance(event, _OPENINGS):
            return
        if len(self._active) >= MAX_ACTIVE:
            self.overflowed += 1
            return
        draft = ActiveTrace(turn)
        draft.apply(event)
        if draft.ended:
            self._close(draft)
        else:
            self._active[turn.id] = draft
            self._notify(lambda listener: listener.started, draft)

    def _phase_changed(self, draft: ActiveTrace) -> None:
        if draft.response_id:
            self._names.learn(draft.turn.model)
        self._notify(lambda listener: listener.changed, draft)

    def _close(self, draft: ActiveTrace) -> None:
        if draft.response_id:
            self._names.learn(draft.turn.model)
        draft.counted_as = self._names.label(draft.turn.model)
        self._active.pop(draft.id, None)
        if len(self._ended) == _MAX_ENDED:
            self._ended_ids.discard(self._ended[0])
        self._ended.append(draft.id)
        self._ended_ids.add(draft.id)
        self._notify(lambda listener: listener.ended, draft)

    def _notify(self, hook: Callable[[Listener], Callable[[ActiveTrace], None]], draft: ActiveTrace) -> None:
        for listener in self._listeners:
            try:
                hook(listener)(draft)
            except Exception:  # a broken listener must not affect the others
                logger.exception("listener.failed", extra={"reqId": draft.id, "listener": type(listener).__name__})
