"""What all tests have. `tests/settings.py` gives each test process a state folder of its own."""

import shutil

import pytest
from django.conf import settings

pytest_plugins = ["tests.support.fixtures"]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Removes the process's state folder. (The processes of xdist do not come as far as `pytest_unconfigure`.)"""
    shutil.rmtree(settings.GATEWAY.state_dir, ignore_errors=True)
