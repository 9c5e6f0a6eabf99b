"""Names that operators depend on stay as they are."""

import json

import pytest

from tests.stable_names import RECORDED, collect

KINDS = json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def current() -> dict[str, list[str]]:
    return collect()


@pytest.mark.parametrize("kind", KINDS)
def test_keep_every_recorded_name(current: dict[str, list[str]], kind: str) -> None:
    assert KINDS[kind], "an empty record protects nothing"
    assert set(KINDS[kind]) <= set(current[kind])


def test_record_every_new_name(current: dict[str, list[str]]) -> None:
    """`python -m tests.stable_names` records them."""
    unrecorded = {kind: sorted(set(names) - set(KINDS[kind])) for kind, names in current.items()}
    assert not any(unrecorded.values()), unrecorded
