"""The official client in front of a real gateway."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from tests.support.gateway import GatewayProcess


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    """The synchronous client, without retries of its own."""
    with openai.OpenAI(**options(gateway)) as made:
        yield made


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client, without retries of its own."""
    async with openai.AsyncOpenAI(**options(gateway)) as made:
        yield made


def options(gateway: GatewayProcess) -> dict[str, Any]:
    """Client options: the address and a key, without retries."""
    return {"base_url": f"{gateway.base_url}/v1", "api_key": gateway.api_key, "max_retries": 0, "timeout": 60}
