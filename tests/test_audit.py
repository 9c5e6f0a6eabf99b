"""`make audit` passes only where every package was looked up."""

import pytest

from tests.support.audit import verdict

CLEAN = {"name": "clean", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "1", "vulns": [{"id": "PYSEC-1"}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("found", "code", "allowed"),
    [
        ([CLEAN], 0, 0),
        ([CLEAN, BAD], 1, 1),
        ([CLEAN, UNKNOWN], 1, 1),
        ([BAD, UNKNOWN], 1, 1),
        ([UNKNOWN, UNKNOWN], 1, 0),
        ([], 1, 1),
    ],
)
def test_audit_fails_unless_every_package_was_looked_up(
    found: list[dict[str, object]], code: int, allowed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict(found) == code
    assert verdict(found, allow_no_advisories=True) == allowed
    assert ("NOT AUDITED" in capsys.readouterr().out) == (UNKNOWN in found or not found)
