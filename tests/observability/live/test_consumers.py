"""The dashboard's socket: who may open it, what it says, and how little however much happens."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from apiproxy.core.events import Queued, Streamed
from apiproxy.gateway import gateway
from observability.live import consumers
from observability.live.broadcast import MAX_ROWS, TICK_S, Broadcaster
from observability.service import Config, Service
from proxy_site.asgi import application
from tests.observability.builders import Gateway, course, failed, finished, make_turn, opening, serve, text_delta
from tests.observability.dashboards import make_user
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)

HOST = b"localhost:3456"
ORIGIN = b"http://localhost:3456"
MOST_A_SECOND = 5


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return serve(Service(Gateway(), Config(log_dir=tmp_path, retention_days=30)))


def cookie_of(**user: Any) -> bytes:
    client = Client()
    client.force_login(make_user(**user))
    return f"sessionid={client.cookies['sessionid'].value}".encode()


@pytest.fixture
def cookie(service: Service) -> bytes:
    return cookie_of(permissions=("view_trace",))


def page(cookie: bytes = b"", *, origin: bytes | None = ORIGIN) -> WebsocketCommunicator:
    headers = [(b"host", HOST), (b"cookie", cookie)]
    if origin is not None:
        headers.append((b"origin", origin))
    return WebsocketCommunicator(application, "/dashboard/live", headers=headers)


@pytest.fixture
async def socket(cookie: bytes) -> AsyncIterator[WebsocketCommunicator]:
    opened = page(cookie)
    connected, _ = await opened.connect(timeout=10)
    assert connected
    yield opened
    await opened.disconnect()


async def heard(socket: WebsocketCommunicator, timeout_s: float = 5.0) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await socket.receive_from(timeout=timeout_s))
    return message


async def refused(socket: WebsocketCommunicator) -> bool:
    connected, _ = await socket.connect(timeout=10)
    return not connected


@pytest.mark.parametrize("user", [{"staff": False, "permissions": ("view_trace",)}, {"staff": True}])
async def test_users_who_may_not_look_are_refused(service: Service, user: dict[str, Any]) -> None:
    assert await refused(page(await sync_to_async(cookie_of)(**user)))


async def test_refuse_socket_without_valid_login(service: Service) -> None:
    assert await refused(page())
    assert await refused(page(b"sessionid=made-up"))


@pytest.mark.parametrize(
    "origin", [None, b"http://evil.example", b"http://localhost:8000", b"null", b"http://localhost.evil.example", b""]
)
async def test_reject_page_of_other_origin(cookie: bytes, origin: bytes | None) -> None:
    assert await refused(page(cookie, origin=origin))


async def test_reject_expired_login_and_close_its_socket(cookie: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "LOGIN_CHECK_S", 0.05)
    opened = page(cookie)
    assert (await opened.connect(timeout=10))[0]
    await Session.objects.all().adelete()
    await ended(opened, consumers.SIGNED_OUT)
    assert await refused(page(cookie))


async def test_close_socket_of_user_who_lost_permission(cookie: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "LOGIN_CHECK_S", 0.05)
    opened = page(cookie)
    assert (await opened.connect(timeout=10))[0]
    await User.objects.aupdate(is_staff=False)
    await ended(opened, consumers.SIGNED_OUT)


async def ended(socket: WebsocketCommunicator, code: int) -> None:
    async with asyncio.timeout(10):
        while (message := await socket.receive_output(timeout=10))["type"] != "websocket.close":
            pass
    assert message["code"] == code
    await socket.wait()


async def test_send_snapshot_then_changes(service: Service, cookie: bytes) -> None:
    turn, earlier = make_turn(at=time.time()), make_turn(at=time.time())
    service.recorder.on_event(earlier, Queued(time.time(), 0))
    socket = page(cookie)
    await socket.connect(timeout=10)
    snapshot = await heard(socket)
    assert snapshot["type"] == "snapshot"
    assert [run["id"] for run in snapshot["runs"]] == [earlier.id]
    one = {"active": 1, "waiting": 2, "max": 5}
    assert snapshot["queue"] == {**one, "by_engine": {"sdk": one}}
    assert snapshot["upstream"] == {"state": "open", "failures": 10, "opened": 3}
    assert [worker["state"] for worker in snapshot["workers"]] == ["idle", "busy"]
    assert snapshot["pulse"]["tiles"]["per_minute"] == 0
    for event in opening():
        service.recorder.on_event(turn, event)
    tick = await heard(socket)
    while not tick.get("runs"):  # figures alone may have changed before
        tick = await heard(socket)
    assert tick["type"] == "tick"
    assert tick["seq"] > snapshot["seq"]
    assert [(run["id"], run["phase"]) for run in tick["runs"]] == [(turn.id, "worker_ready")]
    service.recorder.on_event(turn, finished())
    tick = await heard(socket)
    while not tick.get("gone"):
        tick = await heard(socket)
    assert tick["gone"] == [{"id": turn.id, "status": "completed", "reason": "completed"}]
    await socket.disconnect()


async def test_prompts_and_answers_are_never_sent(service: Service, socket: WebsocketCommunicator) -> None:
    turn = make_turn(body={"messages": [{"role": "user", "content": "a zebra prompt"}]})
    events = course(time.time(), failed(time.time(), message="the upstream quotes a zebra prompt"))
    told = ""
    for event in events[:-1]:
        service.recorder.on_event(turn, event)
    while turn.id not in told:
        told += await socket.receive_from(timeout=5)
    service.recorder.on_event(turn, events[-1])
    while '"error"' not in told:
        told += await socket.receive_from(timeout=5)
    assert "zebra" not in told
    assert "Hello" not in told


async def test_thousands_of_events_are_a_few_messages(service: Service, cookie: bytes) -> None:
    pages = [page(cookie) for _ in range(20)]
    for one in pages:
        await one.connect(timeout=20)
    turns = [make_turn(at=time.time()) for _ in range(200)]
    for turn in turns:
        service.recorder.on_event(turn, Queued(time.time(), 1))
    begun = time.monotonic()
    while time.monotonic() - begun < 2.0:
        for turn in turns[:8]:
            service.recorder.on_event(turn, Streamed(time.time(), [text_delta("word ")]))
        await asyncio.sleep(0)
    seconds = time.monotonic() - begun
    for one in pages:
        messages = [json.loads(item["text"]) for item in drain(one) if item["type"] == "websocket.send"]
        ticks = [message for message in messages if message["type"] == "tick"]
        assert 1 <= len(ticks) <= MOST_A_SECOND * seconds
        assert [tick["seq"] for tick in ticks] == list(range(ticks[0]["seq"], ticks[0]["seq"] + len(ticks)))
    for one in pages:
        await one.disconnect()


def drain(socket: WebsocketCommunicator) -> Iterator[dict[str, Any]]:
    while not socket.output_queue.empty():
        yield socket.output_queue.get_nowait()


async def test_catch_up_page_that_missed_messages(service: Service, cookie: bytes) -> None:
    socket = page(cookie)
    await socket.connect(timeout=10)
    await heard(socket)
    turn = make_turn(at=time.time())
    service.recorder.on_event(turn, Queued(time.time(), 1))

    message: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while message.get("type") != "snapshot" or not message["runs"]:
            await socket.send_to(text_data='{"type":"catch_up"}')
            message = await heard(socket)
    assert [run["id"] for run in message["runs"]] == [turn.id]
    await socket.disconnect()


@pytest.mark.parametrize("text", ["hello", '{"type":"cancel"}', "x" * 10_000])
async def test_anything_else_from_a_page_ends_its_socket(socket: WebsocketCommunicator, text: str) -> None:
    await socket.send_to(text_data=text)
    async with asyncio.timeout(10):
        while (await socket.receive_output(timeout=5))["type"] != "websocket.close":
            pass


async def test_limit_table_and_count_omitted_rows(service: Service, cookie: bytes) -> None:
    for _ in range(MAX_ROWS + 7):
        service.recorder.on_event(make_turn(at=time.time()), Queued(time.time(), 1))
    socket = page(cookie)
    await socket.connect(timeout=10)
    snapshot = await heard(socket)
    assert (len(snapshot["runs"]), snapshot["hidden"]) == (MAX_ROWS, 7)
    await socket.disconnect()


async def test_do_no_work_without_watchers(service: Service, cookie: bytes) -> None:
    socket = page(cookie)
    await socket.connect(timeout=10)
    assert ticking()
    await socket.disconnect()
    await eventually_async(lambda: not ticking(), within_s=5)
    assert TICK_S >= 1 / MOST_A_SECOND
    assert gateway().find(Broadcaster) is not None


async def test_broken_page_does_not_keep_ticks_from_others(service: Service) -> None:
    broadcaster = gateway().find(Broadcaster)
    assert broadcaster is not None
    received: list[str] = []

    async def broken(text: str) -> None:
        raise OSError("gone")

    async def working(text: str) -> None:
        received.append(text)

    broadcaster.join(broken)
    broadcaster.join(working)
    try:
        await eventually_async(lambda: len(received) > 1, within_s=10)
    finally:
        broadcaster.leave(broken)
        broadcaster.leave(working)
    await eventually_async(lambda: not ticking(), within_s=5)


def ticking() -> bool:
    return any(task.get_name() == "dashboard ticker" for task in asyncio.all_tasks())
