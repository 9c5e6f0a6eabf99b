"""The locked official packages have no type that the gateway was not checked for."""

import sys

import pytest

from tests.clients import drift


def test_the_locked_packages_add_nothing() -> None:
    assert drift.added(drift.inventory(sys.executable), drift.known()) == [], "see tests/clients/drift.py"


@pytest.mark.parametrize(
    ("package", "kind"),
    [(package, kind) for package, kinds in drift.known().items() for kind in kinds],
)
def test_report_each_name_that_is_not_known(package: str, kind: str) -> None:
    names = drift.known()
    rest = {**names, package: {**names[package], kind: names[package][kind][1:]}}

    assert names[package][kind], "a kind without names is looked for at the wrong place"
    assert drift.added(names, rest) == [f"{package}, {kind}: {names[package][kind][0]}"]
