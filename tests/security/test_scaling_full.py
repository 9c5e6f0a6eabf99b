"""The promise at its own sizes: 10 MB take at most 20 times as long as 1 MB."""

import pytest

from tests.support.scaling import assert_linear, cases

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("reader", "shape"), list(cases()))
def test_ten_megabytes_take_at_most_twenty_times(reader: str, shape: str) -> None:
    assert_linear(reader, shape, small_bytes=1_000_000)
