"""The long tests: gateways that are broken, loaded, put behind proxies or looked at in a browser, and the CLI's ways.

CI runs them all. Loaded by tests/conftest.py through `pytest_plugins`.
"""

import os

import pytest

_LONG = (
    "tests/browser/",
    "tests/cluster/",
    "tests/contract/",
    "tests/deploy/test_reverse_proxies.py",
    "tests/dialects/anthropic/test_leaving.py",
    "tests/dialects/anthropic/test_patience.py",
    "tests/faults/",
    "tests/fuzz/",
    "tests/limits/test_billing_attacks.py",
    "tests/limits/test_budget_holds.py",
    "tests/limits/test_fairness.py",
    "tests/limits/test_never_one_too_many.py",
    "tests/limits/test_row_locks.py",
    "tests/observability/test_gateway.py",
    "tests/observability/live/test_many.py",
    "tests/policy/test_gateway.py",
    "tests/security/test_gateway.py",
    "tests/security/test_large_bodies.py",
    "tests/security/test_revocation.py",
    "tests/security/test_scaling_full.py",
    "tests/serve/",
    "tests/sessions/test_append.py",
    "tests/sessions/test_gateway.py",
    "tests/test_soak.py",
)
"""Two thirds of the suite's time for a tenth of its tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`."""
    meaning = "run the long tests too, as with CI=true or where one of their files is named"
    parser.addoption("--long", action="store_true", default=os.environ.get("CI") == "true", help=meaning)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves them out, and says how many, where they are not wanted."""
    named = any(argument.startswith(_LONG) or argument + "/" in _LONG for argument in config.invocation_params.args)
    if config.getoption("--long") or named:
        return
    left_out = [item for item in items if item.nodeid.startswith(_LONG)]
    if left_out:
        items[:] = [item for item in items if not item.nodeid.startswith(_LONG)]
        config.hook.pytest_deselected(items=left_out)


def pytest_report_header(config: pytest.Config) -> str:
    """So that nobody takes a part for the whole."""
    return "long tests: " + ("run" if config.getoption("--long") else "left out unless named (--long runs them)")
