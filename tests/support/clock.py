"""A clock for tests."""

from dataclasses import dataclass

import pytest


@dataclass
class Clock:
    """A clock that stands still until `advance`."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()
