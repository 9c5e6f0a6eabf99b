"""Background services started and stopped with the server; `GATEWAY_COMPANIONS` lists those of the site."""

from typing import Protocol


class BackgroundService(Protocol):
    """Started before the first request is accepted, stopped after the last response. Created without arguments."""

    async def start(self) -> None:
        """Starts the service. An exception aborts the start of the gateway."""
        ...

    async def stop(self) -> None:
        """Stops the service and writes what is pending, within a time limit."""
        ...
