"""What all tests have. `tests/settings.py` gives each test process a state folder of its own."""

import shutil

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

pytest_plugins = ["tests.support.fixtures", "tests.support.engine", "tests.support.postgres"]

# A busy machine must not fail a property: no time limit for an example, nor for making one.
hypothesis_settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("gateway")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Removes the process's state folder. (The processes of xdist do not come as far as `pytest_unconfigure`.)"""
    shutil.rmtree(settings.GATEWAY.state_dir, ignore_errors=True)
