"""An upstream that stays away: after some failures requests are refused at once, and operators see why."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from apiproxy.core.turns import EngineName
from tests.faults.support import Prepared, Watched, settings_of
from tests.support.engine import mark
from tests.support.forwarder import Forwarder
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

FAILURES = 3


@pytest.fixture(scope="module")
def road(stand_in: StandInProcess) -> Iterator[Forwarder]:
    forwarder = Forwarder(urlsplit(stand_in.base_url).port or 0)
    yield forwarder
    forwarder.stop()


@pytest.fixture(scope="module")
def watched(
    engine: EngineName, prepared: Prepared, road: Forwarder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    env = {
        **settings_of(engine),
        "CLAUDE_PROXY_UPSTREAM_RETRIES": "0",
        "CLAUDE_PROXY_BREAKER_FAILURES": str(FAILURES),
        "CLAUDE_PROXY_BREAKER_OPEN_MS": "1500",
    }
    upstream = f"http://127.0.0.1:{road.port}"
    process = prepared.put_into(GatewayProcess(tmp_path_factory.mktemp("breaker"), upstream=upstream, env=env)).start()
    yield Watched(process, prepared.secrets)
    process.stop()


def metric(watched: Watched, line: str) -> bool:
    with watched.process.http(**{"x-api-key": watched.keys["operator"]}) as client:
        return line in client.get("/metrics").text.splitlines()


@pytest.mark.fault(
    "The upstream",
    "fails repeatedly: the circuit breaker opens",
    plain="502 api_error",
    streamed="502 api_error",
    trace="upstream_error: upstream_down after received",
    after="at rest",
    http=SAME,
)
def test_probe_upstream_once_after_it_was_down(
    watched: Watched, road: Forwarder, stand_in: StandInProcess, expected: Expected
) -> None:
    road.close()
    for _ in range(FAILURES):
        assert "onnection to the upstream API" in watched.ask("[[n=1]]").error["message"]
    road.open()  # it is back, and nobody knows yet
    sent = mark()
    refused = [watched.ask(sent, stream=stream) for stream in (False, True)]
    state = watched.get("/debug/stats")["upstream"]
    is_shown = metric(watched, 'claude_proxy_upstream_state{state="open"} 1.0')

    assert [str(one) for one in refused] == [expected.plain, expected.streamed]
    assert all(one.retry_after_s in (1, 2) for one in refused)
    assert stand_in.recorded(containing=sent) == []
    assert (state["state"], state["failuresInARow"], state["timesGivenUp"]) == ("open", FAILURES, 1)
    assert is_shown
    assert {watched.trace(one.request_id) for one in refused} == {expected.trace}
    assert watched.comes_to_rest() == expected.after

    eventually(lambda: str(watched.ask("[[n=1]]")) == "200", within_s=10, why="the upstream is back")
    assert watched.get("/debug/stats")["upstream"]["state"] == "closed"


def test_count_upstream_rejection_as_no_failure(watched: Watched) -> None:
    for status in (400, 401, 403, 404, 413, 429) * 2:
        assert watched.ask(f"[[status={status}]]").status == status
    assert watched.get("/debug/stats")["upstream"] == {
        "state": "closed",
        "failuresInARow": 0,
        "timesGivenUp": watched.get("/debug/stats")["upstream"]["timesGivenUp"],
    }
