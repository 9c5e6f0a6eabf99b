"""A Redis database of a test's own, where there is a server. CI must have one."""

import os
from collections.abc import Iterator

import pytest
import redis

SERVER = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379")
_CONNECT_S = 5
_TAKEN = "gateway-test"
_TAKEN_S = 600


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of an empty database, emptied at the end."""
    for number in range(15, 0, -1):
        url = f"{SERVER}/{number}"
        try:
            with redis.Redis.from_url(url, socket_connect_timeout=_CONNECT_S) as client:
                if client.dbsize() or not client.set(_TAKEN, "1", nx=True, ex=_TAKEN_S):
                    continue
                yield url
                client.flushdb()
                return
        except redis.ConnectionError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Redis server ({SERVER}): {error}")
    pytest.fail("every database of the Redis server is in use")
