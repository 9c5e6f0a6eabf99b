"""What a client gets from the supervisor while there is no serve process: a 503, however much it sends."""

import asyncio
import socket
from collections.abc import Iterator

import httpx
import pytest

from apiproxy.management.turned_away import TurnedAway
from apiproxy.wire.connections import listening_socket

BODY_BYTES = 8 * 2**20


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listening_socket("127.0.0.1", 0) as opened:
        yield opened


@pytest.mark.parametrize("size", [0, BODY_BYTES])
async def test_refuses_a_request_with_a_503_to_retry(listener: socket.socket, size: int) -> None:
    turned_away = TurnedAway(listener)
    await turned_away.open()
    await turned_away.open()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            answer = await client.post("/v1/messages", content=b" " * size)
    finally:
        turned_away.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["type"] == "overloaded_error"


async def test_leaves_connections_to_others_once_closed(listener: socket.socket) -> None:
    turned_away = TurnedAway(listener)
    await turned_away.open()
    turned_away.close()
    with socket.create_connection(listener.getsockname()):
        taken, _ = await asyncio.get_running_loop().sock_accept(listener)
        taken.close()
