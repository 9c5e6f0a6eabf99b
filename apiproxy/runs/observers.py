"""Observers of runs. Observability adds its own; the API works the same without it."""

import logging
from typing import Protocol

from apiproxy.core.events import Event
from apiproxy.core.turns import Turn

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Receives all events of all runs, on the event loop's thread, in order per turn. Must return at once."""

    def on_event(self, turn: Turn, event: Event) -> None:
        """Handle an event. The event and its lists are shared and must not be changed."""
        ...


class Observers:
    """List of observers, called in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def register(self, observer: Observer) -> None:
        """Add an observer, once."""
        if observer not in self._observers:
            self._observers.append(observer)

    def unregister(self, observer: Observer) -> None:
        """Remove an observer; unknown ones are ignored."""
        if observer in self._observers:
            self._observers.remove(observer)

    def publish(self, turn: Turn, event: Event) -> None:
        """Call every observer. Exceptions are logged, and affect neither the run nor other observers."""
        for observer in self._observers:
            try:
                observer.on_event(turn, event)
            except Exception:  # a bug in an observer must not fail the request
                logger.exception("observer.failed", extra={"reqId": turn.id, "observer": type(observer).__name__})
