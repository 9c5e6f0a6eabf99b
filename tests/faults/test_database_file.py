"""SQLite's file moved away or deleted under a running gateway: nothing is charged where it is never seen again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.support import Prepared, Watched
from tests.support.gateway import GatewayProcess
from tests.support.matrix import Expected
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

AWAY = "503 api_error"


@pytest.fixture
def watched(prepared: Prepared, stand_in: StandInProcess, tmp_path: Path) -> Iterator[Watched]:
    env = {"CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_MAX_CONCURRENT": "2"}
    process = prepared.put_into(GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env)).start()
    yield Watched(process, prepared.secrets)
    process.stop()


def ready(watched: Watched) -> int:
    with watched.process.http() as client:
        return client.get("/readyz").status_code


def move_folder(state: Path) -> None:
    state.rename(state.with_name("elsewhere"))


def delete_file(state: Path) -> None:
    (state / "db.sqlite3").unlink()


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lose, id=name, marks=pytest.mark.fault("The database", name, plain=AWAY, streamed=AWAY))
        for lose, name in (
            (move_folder, "(SQLite) is a file that is moved, with its folder"),
            (delete_file, "(SQLite) is a file that is deleted"),
        )
    ],
)
def test_refuses_limited_keys_when_the_file_is_lost(
    watched: Watched, expected: Expected, lose: Callable[[Path], None]
) -> None:
    state = watched.process.state_dir
    for key in ("limited", "operator"):
        assert str(watched.ask("[[n=1]]", key=key)) == "200"
    assert watched.comes_to_rest() == "at rest"
    lose(state)
    said = [str(watched.ask("[[n=1]]", stream=stream)) for stream in (False, True)]
    assert said == [expected.plain, expected.streamed]
    assert str(watched.ask("[[n=1]]", key="operator")) == "200"  # known here, and without a limit
    eventually(lambda: ready(watched) == 503)
    assert "database.file_lost" in watched.process.output
    assert not (state / "db.sqlite3").exists(), "an empty one in its place"


def test_goes_on_when_the_file_is_back(watched: Watched) -> None:
    file = watched.process.state_dir / "db.sqlite3"
    elsewhere = file.with_name("elsewhere")
    assert str(watched.ask("[[n=1]]", key="operator")) == "200"
    file.rename(elsewhere)
    eventually(lambda: ready(watched) == 503)
    seen = watched.ask("[[n=1]]", key="operator")
    assert str(seen) == "200"
    elsewhere.rename(file)
    eventually(lambda: ready(watched) == 200, within_s=30)
    eventually(lambda: str(watched.ask("[[n=1]]")) == "200", within_s=30)
    assert watched.trace(seen.request_id, within_s=30) == "completed"
