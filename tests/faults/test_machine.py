"""Faults of the machine: a full disk, a clock that jumps."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from apiproxy.core.turns import EngineName
from tests.faults.support import Prepared, Seen, Watched, settings_of
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected, every
from tests.support.processes import ROOT
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

DISK_MB = 64
BACK_S = 30.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with little room, which only root can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a disk of a test's own needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    path = disk / "ballast"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65_536)
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0")
    return path


@every(
    [
        pytest.mark.fault(
            "The disk", "of the state folder is full: a key without limits", plain="200", streamed="200",
            trace="completed, once there is room", after="at rest", http=SAME,
        ),
        pytest.mark.fault(
            "The disk", "of the state folder is full: a key with limits", plain="503 api_error",
            streamed="503 api_error", trace="internal: database_away after received", after="at rest", http=SAME,
        ),
    ]
)  # fmt: skip
def test_answer_without_writes_while_disk_is_full(
    engine: EngineName,
    prepared: Prepared,
    stand_in: StandInProcess,
    small_disk: Path,
    all_expected: dict[str, Expected],
) -> None:
    unlimited, limited = all_expected.values()
    process = prepared.put_into(GatewayProcess(small_disk, upstream=stand_in.base_url, env=settings_of(engine))).start()
    try:
        watched = Watched(process, prepared.secrets)
        if "without" not in unlimited.what:
            unlimited, limited = limited, unlimited
        watched.ask("[[n=1]]", key="operator")
        watched.comes_to_rest()
        ballast = fill(small_disk)
        answered = [watched.ask("[[n=1]]", key="operator", stream=stream) for stream in (False, True)]
        refused = [watched.ask("[[n=1]]", key="limited", stream=stream) for stream in (False, True)]
        ballast.unlink()
        assert [str(one) for one in answered] == [unlimited.plain, unlimited.streamed]
        assert [str(one) for one in refused] == [limited.plain, limited.streamed]
        traces = {watched.trace(one.request_id, within_s=BACK_S) for one in answered}
        assert traces == {"completed"}
        assert {watched.trace(one.request_id) for one in refused} == {limited.trace}
        eventually(lambda: str(watched.ask("[[n=1]]", key="limited")) == "200", within_s=BACK_S)
        assert watched.comes_to_rest(within_s=BACK_S) == unlimited.after == limited.after
    finally:
        assert process.stop() == 0


@pytest.mark.fault(
    "The clock",
    "jumps an hour forward in the middle of an answer, and two hours back in the next",
    plain="200",
    streamed="200",
    trace="completed",
    after="at rest; the limits go on",
    http=SAME,
)
def test_survive_clock_jump_without_errors_or_lockouts(
    engine: EngineName, prepared: Prepared, stand_in: StandInProcess, tmp_path: Path, expected: Expected
) -> None:
    manage = (str(ROOT / "tests/support/odd_manage.py"), "--clock")
    process = prepared.put_into(
        GatewayProcess(tmp_path, upstream=stand_in.base_url, env=settings_of(engine), manage=manage)
    ).start()
    try:
        watched = Watched(process, prepared.secrets)
        seen: list[Seen] = []
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            asking = threading.Thread(
                target=lambda: seen.extend(
                    [watched.ask("[[n=9]] [[gap=0.1]]", stream=True), watched.ask("[[n=1]]", key="sparing")]
                )
            )
            asking.start()
            eventually(
                lambda: [run["phase"] for run in watched.get("/debug/active")["activeRequests"]] == ["streaming"]
            )
            os.kill(process.pid, number)
            asking.join()
        assert {str(one) for one in seen} == {expected.plain}
        assert {watched.trace(one.request_id) for one in seen} == {expected.trace}
        refused = watched.ask("[[n=1]]", key="sparing")
        assert str(refused) == "429 rate_limit_error"
        assert refused.retry_after_s <= 60
        watched.comes_to_rest()
    finally:
        assert process.stop() == 0
