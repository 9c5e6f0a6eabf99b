"""The gateway that all of it is thrown at."""

from collections.abc import Iterator

import pytest

from tests.fuzz.target import Target
from tests.support.stand_in import StandInProcess


@pytest.fixture(scope="session")
def target(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    started = Target(tmp_path_factory.mktemp("fuzz"), upstream=stand_in.base_url)
    yield started
    started.close()
