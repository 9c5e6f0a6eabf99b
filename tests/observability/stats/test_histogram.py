"""Accuracy of percentiles computed from buckets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.stats.histogram import GROWTH, MAX_BUCKET, bucket_of, edges, merge, percentiles


@given(st.floats(min_value=0, max_value=10 * 86_400_000))
def test_put_duration_between_edges_of_its_bucket(milliseconds: float) -> None:
    low, high = edges(bucket_of(milliseconds))

    assert low * (1 - 1e-6) <= milliseconds <= high * (1 + 1e-6)


def test_buckets_end_somewhere() -> None:
    assert bucket_of(1e300) == MAX_BUCKET


@given(st.lists(st.integers(1, 3_600_000), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_estimate_percentile_within_one_bucket(durations: list[int], share: float) -> None:
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]
    (found,) = percentiles(merge((bucket_of(one), 1) for one in durations), [share])

    assert found is not None
    assert exact / GROWTH * 0.999 <= found <= exact * GROWTH * 1.001


def test_estimate_percentiles_within_six_percent() -> None:
    counts = merge((bucket_of(milliseconds), 1) for milliseconds in range(1, 100_001))

    for share, found in zip((0.5, 0.9, 0.99), percentiles(counts, [0.5, 0.9, 0.99]), strict=True):
        assert found == pytest.approx(share * 100_000, rel=0.06)


def test_give_no_percentiles_without_observations() -> None:
    assert percentiles({}, [0.5, 0.99]) == [None, None]
