"""The CLI reports an upstream error's whole body and request id, and no other header."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from apiproxy.engines.base import Broken
from apiproxy.engines.sdk.overlay import overlay_body
from tests.contract.conftest import body
from tests.support.engine import engine_request, play, pool_in
from tests.support.raw_cli import RawCli

pytestmark = pytest.mark.long

RETRY_AFTER = "37123"
HEADERS = {
    "retry-after": RETRY_AFTER,
    "x-should-retry": "false",
    "request-id": "req_in_the_header",
    "anthropic-ratelimit-requests-remaining": "87654",
    "anthropic-ratelimit-unified-status": "rejected",
}


def error_of(kind: str, message: str) -> dict[str, Any]:
    details = {"error_code": "thread_not_found", "list": [1, 2.5, None, {"é": ""}]}
    error = {"type": kind, "message": message, "details": details, "field_of_tomorrow": [True]}
    return {"type": "error", "error": error, "request_id": "req_in_the_body", "more": {"a": 1}}


class Failing(BaseHTTPRequestHandler):
    """Answers with the status, or the `error` event, that the prompt asks for: `400 type message`, `event type …`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        how, kind, message = asked.split(" ", 2)
        answer = json.dumps(error_of(kind, message), ensure_ascii=False).encode()
        if how == "event":
            self._answer(200, "text/event-stream", b"event: error\ndata: " + answer + b"\n\n")
        else:
            self._answer(int(how), "application/json", answer)

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Nothing on the console."""


@pytest.fixture(scope="module")
def failing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("how", "status", "kind", "message"),
    [
        ("400", 400, "invalid_request_error", "plain words"),
        ("400", 400, "invalid_request_error", "max_tokens: 200000 > 64000, which is too much"),
        ("401", 401, "authentication_error", "no"),
        ("404", 404, "not_found_error", "No usable Thread state was found for previous_message_id."),
        ("413", 413, "request_too_large", "Request exceeds the maximum size"),
        ("429", 429, "rate_limit_error", "slow down"),
        ("500", 500, "api_error", "Internal server error"),
        ("529", 529, "overloaded_error", "Overloaded"),
        ("event", 529, "overloaded_error", "Overloaded"),
        ("event", 400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
    ],
)
async def test_give_the_whole_error_body_to_the_client(
    failing: str, tmp_path: Path, how: str, status: int, kind: str, message: str
) -> None:
    pool = pool_in(tmp_path, upstream=failing)
    try:
        played = await play(pool, engine_request(f"{how} {kind} {message}"))
    finally:
        await pool.close()

    assert isinstance(played.outcome, Broken)
    upstream = played.outcome.error.upstream
    assert upstream is not None
    assert (upstream.status, upstream.type, played.outcome.error.message) == (status, kind, message)
    assert json.loads(upstream.body) == error_of(kind, message)
    assert list(json.loads(upstream.body)) == list(error_of(kind, message))
    # After a 404 the worker is killed before it tells the header.
    where = "body" if how == "404" else "header"
    assert upstream.headers == {"x-upstream-request-id": f"req_in_the_{where}"}


def test_tell_no_response_header_but_the_request_id(failing: str, tmp_path: Path) -> None:
    """Why the SDK engine cannot pass `retry-after` on. If this fails, it can."""
    cli = RawCli(tmp_path, upstream=failing)
    try:
        turn = cli.turn(overlay_body(body("429 rate_limit_error slow down"), model="claude-sonnet-4-5", betas=()))
    finally:
        cli.stop()

    told = json.dumps(turn.lines) + cli.stderr
    assert "req_in_the_header" in told
    assert RETRY_AFTER not in told
    assert HEADERS["anthropic-ratelimit-requests-remaining"] not in told
