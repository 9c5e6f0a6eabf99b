"""Dashboards that somebody has open: their sockets, as a browser opens them after a login."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.gateway import GatewayProcess

_PAGE_PAUSE_S = 1.0


@dataclass(slots=True)
class Pages:
    """messages: that came in; closed: sockets that the gateway closed."""

    messages: int = 0
    closed: int = 0

    @contextlib.asynccontextmanager
    async def opened(self, gateway: GatewayProcess, count: int) -> AsyncIterator[None]:
        """Opens a number of pages that follow the live updates."""
        cookie = await asyncio.to_thread(_signed_in, gateway) if count else ""
        tasks = [asyncio.create_task(self._follow(gateway.base_url, cookie)) for _ in range(count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, base_url: str, cookie: str) -> None:
        url = base_url.replace("http://", "ws://", 1) + "/dashboard/live"
        headers = {"Cookie": cookie, "Origin": base_url}
        while True:
            try:
                async with connect(url, additional_headers=headers, max_size=2**22) as socket:
                    async for _ in socket:
                        self.messages += 1
            except (ConnectionClosed, OSError):
                pass
            self.closed += 1
            await asyncio.sleep(_PAGE_PAUSE_S)


def _signed_in(gateway: GatewayProcess) -> str:
    """The cookies of the first administrator."""
    login = gateway.first_login()
    with httpx.Client(base_url=gateway.base_url, timeout=30) as client:
        client.get("/admin/login/").raise_for_status()
        form = {"username": login.name, "password": login.password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        answer = client.post("/admin/login/", data=form, headers={"Referer": gateway.base_url})
        assert "sessionid" in client.cookies, answer.text[:500]
        return "; ".join(f"{name}={value}" for name, value in client.cookies.items())
