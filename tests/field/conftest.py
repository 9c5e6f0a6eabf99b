"""Both engines, for all field tests of a test process."""

from collections.abc import Iterator

import pytest

from tests.differential.pair import Pair
from tests.support.stand_in import StandInProcess

pytest.register_assert_rewrite("tests.field.asks")


@pytest.fixture(scope="session")
def pair(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    started = Pair(tmp_path_factory.mktemp("field"), stand_in)
    yield started
    started.stop()
