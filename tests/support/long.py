"""The `long` marker: tests of whole gateways that are broken, loaded or looked at in a browser, and of the real CLI.

Two thirds of the suite's time for a tenth of its tests. CI runs them all. Loaded by tests/conftest.py.
"""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--long`."""
    meaning = "run the long tests too, as with CI=true or where their file is named"
    parser.addoption("--long", action="store_true", default=os.environ.get("CI") == "true", help=meaning)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects long tests, unless they are asked for or nothing else is left."""
    if config.getoption("--long"):
        return
    named = {argument.partition("::")[0] for argument in config.invocation_params.args}
    long = [it for it in items if it.get_closest_marker("long") and it.nodeid.partition("::")[0] not in named]
    if long and len(long) < len(items):
        left_out = set(long)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=long)


def pytest_report_header(config: pytest.Config) -> str:
    """Prints a notice, so that a partial run is not taken for a whole one."""
    return "long tests: " + ("run" if config.getoption("--long") else "left out unless named (--long runs them)")
