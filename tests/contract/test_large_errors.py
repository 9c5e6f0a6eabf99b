"""An upstream's error keeps its status and type however large it is; its message has a bound."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from apiproxy.core.errors import UpstreamError
from apiproxy.engines.base import Broken
from tests.support.engine import engine_request, play, pool_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]


class Refusing(BaseHTTPRequestHandler):
    """Answers with a 413 whose message is as long as the prompt says."""

    protocol_version = "HTTP/1.1"
    calls = 0

    def do_POST(self) -> None:
        Refusing.calls += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        size = int(body["messages"][-1]["content"])
        error = {"type": "request_too_large", "message": "é" * size}
        answer = json.dumps({"type": "error", "error": error}, ensure_ascii=False).encode()
        self.send_response(413)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Nothing on the console."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("size", [1_000, 100_000, 2_500_000])
async def test_keep_the_status_of_an_error_of_any_size(refusing: str, tmp_path: Path, size: int) -> None:
    Refusing.calls = 0
    pool = pool_in(tmp_path, upstream=refusing)
    try:
        played = await play(pool, engine_request(str(size)))
        assert isinstance(played.outcome, Broken)
        error = played.outcome.error
        assert error.upstream == UpstreamError(status=413, type="request_too_large")
        assert error.message.startswith("é" * min(size, 1_000))
        assert len(error.message) < 17_000
        assert error.message.endswith("(shortened by the gateway)") == (size > 16_000)
        assert Refusing.calls == 1
    finally:
        await pool.close()
