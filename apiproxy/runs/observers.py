"""Where the outside listens to runs: observability registers here, and the API works the same with nobody listening."""

import logging
from typing import Protocol

from apiproxy.core.events import Event
from apiproxy.core.turns import Turn

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Hears every event of every run, on the event loop's thread, in order per turn. Must return at once."""

    def on_event(self, turn: Turn, event: Event) -> None:
        """Takes note of the event. The event and its lists are shared: read, never change."""
        ...


class Observers:
    """The observers of this process."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def register(self, observer: Observer) -> None:
        """Adds an observer; one that is registered already is not added again."""
        if observer not in self._observers:
            self._observers.append(observer)

    def unregister(self, observer: Observer) -> None:
        """Removes an observer; unknown ones are ignored."""
        if observer in self._observers:
            self._observers.remove(observer)

    def publish(self, turn: Turn, event: Event) -> None:
        """Tells every observer. One that raises is logged and does not disturb the run or the others."""
        for observer in self._observers:
            try:
                observer.on_event(turn, event)
            except Exception:  # an observer's fault must never become the client's
                logger.exception("observer.failed", extra={"reqId": turn.id, "observer": type(observer).__name__})


observers = Observers()
