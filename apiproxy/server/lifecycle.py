"""What lives and ends with a served gateway, which does not know it: the site names it in `GATEWAY_COMPANIONS`."""

from typing import Protocol


class BackgroundService(Protocol):
    """Started before the first request is taken, stopped after the last one was answered. Made without arguments."""

    async def start(self) -> None:
        """Begins its work; an exception ends the start of the gateway."""
        ...

    async def stop(self) -> None:
        """Ends its work and keeps what must be kept; bounded in time."""
        ...
