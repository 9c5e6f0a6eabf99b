"""The stand-in upstream as a process of its own."""

from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import LoggedProcess, clean_environment
from tests.support.waiting import eventually
from tests.upstream import Exchange

_START_S = 20.0
_STOP_S = 5.0


class StandInProcess:
    """A stand-in on a port of its own that records what it is asked. Started by the constructor, ended by `stop`."""

    def __init__(self, folder: Path) -> None:
        arguments = ["-m", "tests.upstream", "--port", "0", "--record", "--until-eof"]
        self._process = LoggedProcess(arguments, log=folder / "standin.log", env=clean_environment())
        address = self._process.wait_for_line("listening on ", within_s=_START_S)
        self.base_url = f"http://{address}"
        self._client = httpx.Client(base_url=self.base_url, timeout=10)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def mark(self) -> int:
        """The number of the last exchange so far, for `recorded(since=…)`."""
        numbers = [exchange.number for exchange in self.recorded()]
        return max(numbers, default=0)

    def recorded(self, *, since: int = 0, containing: str = "") -> list[Exchange]:
        """The exchanges after that number whose body holds the text, as its JSON has it; oldest first."""
        query: dict[str, str | int] = {"since": since, "containing": containing}
        rows: list[dict[str, Any]] = self._client.get("/_recorded", params=query).raise_for_status().json()
        return [Exchange(**{**row, "raw": row["raw"].encode()}) for row in rows]

    def only(self, containing: str) -> Exchange:
        """The only exchange whose body contains the text."""
        found = self.recorded(containing=containing)
        assert len(found) == 1, f"{len(found)} exchanges with {containing!r}"
        return found[0]

    def ended(self, containing: str, *, within_s: float = 5.0) -> Exchange:
        """The only exchange whose body contains the text, once it has ended."""
        eventually(lambda: [it for it in self.recorded(containing=containing) if it.ended_at], within_s=within_s)
        return self.only(containing)

    def clear(self) -> None:
        """Forgets what was recorded; numbers go on."""
        self._client.delete("/_recorded").raise_for_status()

    def stop(self) -> None:
        """Ends the process."""
        self._client.close()
        self._process.stop(within_s=_STOP_S)
