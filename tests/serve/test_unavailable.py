"""The supervisor's own small duties: a 503 while there is no serve process, and orphans in a container."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from apiproxy.server.listener import listening_socket
from apiproxy.server.unavailable import UnavailableResponder
from tests.support.processes import ROOT

pytestmark = pytest.mark.long

BODY_BYTES = 8 * 2**20


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listening_socket("127.0.0.1", 0) as opened:
        yield opened


@pytest.mark.parametrize("size", [0, BODY_BYTES])
async def test_refuses_a_request_with_a_503_to_retry(listener: socket.socket, size: int) -> None:
    responder = UnavailableResponder(listener)
    await responder.open()
    await responder.open()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            answer = await client.post("/v1/messages", content=b" " * size)
    finally:
        responder.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["type"] == "overloaded_error"


def test_reaps_orphans_and_no_child_of_its_own() -> None:
    script = """if True:
        import os, subprocess, sys
        from apiproxy.server.orphans import reap_orphans
        reap_orphans(set())
        orphan, own = os.posix_spawn("/bin/true", ["true"], {}), None
        os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
        reap_orphans({own})
        own = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, own, os.WEXITED | os.WNOWAIT)
        reap_orphans({own})
        try:
            os.waitpid(orphan, 0)
        except ChildProcessError:
            sys.exit(os.waitpid(own, 0)[1])
        sys.exit("not reaped")
    """
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=60).returncode == 0


async def test_leaves_connections_to_others_once_closed(listener: socket.socket) -> None:
    responder = UnavailableResponder(listener)
    await responder.open()
    responder.close()
    with socket.create_connection(listener.getsockname()):
        taken, _ = await asyncio.get_running_loop().sock_accept(listener)
        taken.close()
