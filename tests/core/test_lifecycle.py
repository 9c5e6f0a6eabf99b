"""Services: started in order, stopped in reverse."""

import pytest

from apiproxy.core.lifecycle import Lifecycle, OnStop


class Recording:
    def __init__(self, name: str, log: list[str], *, fails: str = "") -> None:
        self._name, self._log, self._fails = name, log, fails

    async def start(self) -> None:
        await self._call("start")

    async def stop(self) -> None:
        await self._call("stop")

    async def _call(self, what: str) -> None:
        self._log.append(f"{what} {self._name}")
        if what == self._fails:
            raise RuntimeError(f"{what} {self._name}")


async def test_starts_in_order_and_stops_in_reverse() -> None:
    log: list[str] = []
    lifecycle = Lifecycle()
    await lifecycle.start([Recording("a", log), Recording("b", log)])
    await lifecycle.start([Recording("c", log)])
    await lifecycle.stop()
    assert log == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    await lifecycle.stop()
    assert len(log) == 6, "each is stopped once"


async def test_stops_only_what_was_started_after_a_failed_start() -> None:
    log: list[str] = []
    lifecycle = Lifecycle()
    with pytest.raises(RuntimeError, match="start b"):
        await lifecycle.start([Recording("a", log), Recording("b", log, fails="start"), Recording("c", log)])
    await lifecycle.stop()
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_stops_the_others_where_one_fails_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    lifecycle = Lifecycle()
    await lifecycle.start([Recording("a", log), Recording("b", log, fails="stop")])
    await lifecycle.stop()
    assert log[2:] == ["stop b", "stop a"]
    assert [record.getMessage() for record in caplog.records] == ["gateway.stop_failed"]


async def test_starts_nothing_more_once_it_is_stopped() -> None:
    log: list[str] = []
    lifecycle = Lifecycle()
    stops = Recording("a", log)
    stops.start = lifecycle.stop  # type: ignore[method-assign]  # a signal during the start
    await lifecycle.start([stops, Recording("b", log)])
    assert log == ["stop a"]


async def test_on_stop_calls_its_function_at_the_stop() -> None:
    log: list[str] = []

    async def close() -> None:
        log.append("close")

    lifecycle = Lifecycle()
    await lifecycle.start([OnStop(close)])
    assert not log
    await lifecycle.stop()
    assert log == ["close"]
