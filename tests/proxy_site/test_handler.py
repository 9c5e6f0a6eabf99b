"""Objects that Django's handler leaves behind after an API request."""

import asyncio
import gc
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from proxy_site.asgi import PathRouter
from proxy_site.handler import ApiHandler

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/messages",
    "query_string": b"",
    "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    "client": ("127.0.0.1", 50_000),
    "server": ("127.0.0.1", 80),
}


@pytest.fixture
def no_database() -> Iterator[None]:
    """Keeps Django from closing another test's connections, as its own test client does."""
    told = (request_started, request_finished)
    for signal in told:
        signal.disconnect(close_old_connections)
    yield
    for signal in told:
        signal.connect(close_old_connections)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_database", "no_collection")
async def test_free_request_and_body_without_garbage_collection() -> None:
    before = requests()
    sent: list[dict[str, Any]] = []
    answered = asyncio.Event()
    coming = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        await answered.wait()  # as Daphne does: a request that is over is told as a client that has gone
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()
            await asyncio.sleep(0)

    await ApiHandler()(SCOPE, receive, send)

    assert sent[0]["status"] == 401
    assert requests() == before


@pytest.mark.usefixtures("no_database")
@pytest.mark.parametrize("path", ["/v1/messages", "/healthz", "/admin/login/", "/debug/stats"])
async def test_write_no_body_to_a_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for such a file does not exist."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    pieces = [{"type": "http.request", "body": b" " * 2**20, "more_body": number < 29} for number in range(30)]
    sent: list[Mapping[str, Any]] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if pieces:
            return pieces.pop(0)
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    scope = {**SCOPE, "path": path, "headers": [(b"host", b"localhost"), (b"cookie", b"a=b")]}
    await PathRouter()(scope, receive, send)
    assert sent[0]["type"] == "http.response.start"


def requests() -> int:
    """Existing request objects, garbage included."""
    return sum(isinstance(it, ASGIRequest) for it in gc.get_objects())
