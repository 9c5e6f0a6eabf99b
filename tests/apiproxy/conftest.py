"""What the tests of keys and models share."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from apiproxy.catalog import catalog
from apiproxy.keys.cache import keyring


@dataclass
class Clock:
    """A clock that stands still until it is told to go."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _forget_what_was_in_memory() -> Iterator[None]:
    """A test's rows are rolled back without a signal: nothing of them may stay in memory."""
    keyring.forget()
    catalog.forget()
    yield
    keyring.forget()
    catalog.forget()
