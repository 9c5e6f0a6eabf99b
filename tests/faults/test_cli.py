"""A CLI that fails in every way, in a whole gateway: half an answer is never given for a whole one."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults import unruly_cli
from tests.faults.support import Prepared, Watched, unruly_gateway
from tests.support.matrix import Expected
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

CLI = "The CLI"
DIED = "worker_died: worker_died after worker_ready"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unruly")


@pytest.fixture(scope="module")
def watched(prepared: Prepared, folder: Path) -> Iterator[Watched]:
    process = unruly_gateway(prepared, folder, {"CLAUDE_PROXY_STALL_TIMEOUT_MS": "1500"})
    yield Watched(process.start(), prepared.secrets)
    process.stop()


def fault(what: str, behaviour: str, *, plain: str, streamed: str = "", trace: str = DIED) -> object:
    row = pytest.mark.fault(CLI, what, plain=plain, streamed=streamed or plain, trace=trace, after="at rest")
    return pytest.param(behaviour, marks=row, id=what)


@pytest.mark.parametrize(
    "behaviour",
    [
        fault("dies when it gets the request", "dies-at-bind", plain="502 api_error"),
        fault("refuses the request", "refuses", plain="502 api_error"),
        fault("dies before the first byte, in every attempt", "dies", plain="502 api_error"),
        fault(
            "dies after the first byte",
            "dies-later",
            plain="502 api_error",
            streamed="200, error event api_error",
            trace="worker_died: worker_died after streaming",
        ),
        fault(
            "stops in the middle and ignores interrupts (SIGSTOP)",
            "deaf",
            plain="504 timeout_error",
            streamed="200, error event timeout_error",
            trace="stall: stall after streaming",
        ),
        fault("writes 75 MB to stderr", "shouts", plain="200", trace="completed"),
        fault("prints a line that is not a message on stdout", "babbles", plain="200", trace="completed"),
        fault(
            "prints messages of an unknown protocol",
            "lies",
            plain="502 api_error",
            trace="upstream_error: connection_lost after worker_ready",
        ),
    ],
)
def test_report_cli_fault_without_losing_resources(watched: Watched, expected: Expected, behaviour: str) -> None:
    plain, streamed = watched.ask_both_ways(f"[[cli={behaviour}]]")
    assert (str(plain), str(streamed)) == (expected.plain, expected.streamed)
    for seen in (plain, streamed):
        assert watched.trace(seen.request_id) == expected.trace
    assert watched.comes_to_rest() == expected.after
    assert psutil.Process(watched.process.pid).memory_info().rss < 400 * 2**20


@pytest.mark.fault(
    CLI,
    "dies when it is started",
    plain="502 api_error",
    streamed="502 api_error",
    trace="worker_died: worker_unavailable after admitted",
    after="at rest",
)
def test_answer_502_until_cli_starts_again(watched: Watched, expected: Expected, folder: Path) -> None:
    broken = folder / unruly_cli.BROKEN
    broken.touch()
    try:
        for worker in watched.process.workers():
            worker.kill()
        eventually(lambda: watched.get("/debug/health")["memory"]["workers"] == [])
        plain, streamed = (watched.ask("[[cli=good]]", stream=stream) for stream in (False, True))
        with watched.process.http() as client:
            assert client.get("/readyz").status_code == 503
    finally:
        broken.unlink()
    assert (str(plain), str(streamed)) == (expected.plain, expected.streamed)
    for seen in (plain, streamed):
        assert watched.trace(seen.request_id) == expected.trace
    assert str(watched.ask("[[cli=good]]")) == "200"
    assert watched.comes_to_rest() == expected.after
