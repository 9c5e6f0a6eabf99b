"""Fixtures of the Anthropic dialect's tests."""

from collections.abc import Mapping

import pytest

from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess


@pytest.fixture(scope="session")
def secrets(gateway: GatewayProcess) -> Mapping[str, str]:
    """The secrets of more keys of `gateway`: four that may do all, and one that may use a Haiku only."""
    everything = {f"key {number}": dict[str, object]() for number in range(4)}
    return make_keys(gateway, {**everything, "haiku only": {"allowed_models": ["claude-haiku-*"]}})
