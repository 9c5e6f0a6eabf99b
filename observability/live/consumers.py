"""WebSocket of the dashboard, for staff who may view traces.

`proxy_site/middleware.py` rejects other origins.
"""

import asyncio
import contextlib
import time
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.utils.module_loading import import_string

from apiproxy.gateway import gateway
from observability.live.broadcast import Broadcaster, encode
from observability.permissions import can_view_traces

LOGIN_CHECK_S = 15.0
"""Interval of checking that the login of an open socket is still valid."""

CATCH_UP_S = 1.0
"""Minimum interval of snapshots to one page."""

SIGNED_OUT = 4401
FORBIDDEN = 4403

_MAX_MESSAGE_CHARS = 200
_CATCH_UP = '{"type":"catch_up"}'


class DashboardConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Sends a snapshot and then ticks (`payloads.py`). Takes one message: `{"type":"catch_up"}`."""

    _has_snapshot = False
    _broadcaster: Broadcaster | None = None
    _login: asyncio.Task[None] | None = None

    async def __call__(self, *args: Any) -> None:
        """ASGI 3. Leaves the broadcaster whether or not `disconnect` was called."""
        try:
            await super().__call__(*args)
        finally:
            if self._login is not None:
                self._login.cancel()
            self._leave()

    async def connect(self) -> None:
        """Reject users without permission before accepting the socket."""
        self._caught_up_at = time.monotonic()
        user = self.scope["user"]
        broadcaster = gateway().find(Broadcaster)
        if broadcaster is None or not await database_sync_to_async(can_view_traces)(user):
            await self.close(code=SIGNED_OUT if not user.is_authenticated else FORBIDDEN)
            return
        await self.accept()
        broadcaster.join(self.tick)
        self._broadcaster = broadcaster
        await self.send(text_data=encode(await broadcaster.snapshot()))
        self._has_snapshot = True
        self._login = asyncio.create_task(self._watch_login(), name="dashboard login")

    async def disconnect(self, code: int) -> None:
        if self._login is not None:
            self._login.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._login
        self._leave()

    def _leave(self) -> None:
        if self._broadcaster is not None:
            self._broadcaster.leave(self.tick)
            self._broadcaster = None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Reply to `catch_up` with a snapshot; close the socket on anything else."""
        if text_data is None or len(text_data) > _MAX_MESSAGE_CHARS or text_data != _CATCH_UP:
            await self.close(code=1008)
            return
        if self._broadcaster is None or time.monotonic() - self._caught_up_at < CATCH_UP_S:
            return
        self._caught_up_at = time.monotonic()
        await self.send(text_data=encode(await self._broadcaster.snapshot()))

    async def tick(self, text: str) -> None:
        """Send a tick, unless the page is still waiting for its first snapshot."""
        if self._has_snapshot:
            await self.send(text_data=text)

    async def _watch_login(self) -> None:
        while True:
            await asyncio.sleep(LOGIN_CHECK_S)
            async with ThreadSensitiveContext():
                allowed = await database_sync_to_async(self._still_allowed)()
            if not allowed:
                self._login = None  # else `disconnect` would wait for this task itself
                await self.close(code=SIGNED_OUT)
                return

    def _still_allowed(self) -> bool:
        """True if the session exists, has not expired, and its user may see traces."""
        request = HttpRequest()
        request.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(self.scope["session"].session_key)
        return can_view_traces(get_user(request))
