"""The self-test of the jail, where it holds and where it does not."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from apiproxy.engines.agents import self_test
from apiproxy.engines.agents.folder import agent_folders
from apiproxy.engines.agents.jail import Jail
from apiproxy.engines.agents.launch import AgentLaunch
from apiproxy.engines.agents.self_test import JailTest, jail_report
from apiproxy.engines.sdk.launch import bundled_cli

pytestmark = pytest.mark.long


@pytest.fixture
def launch(tmp_path: Path) -> AgentLaunch:
    return AgentLaunch(cli=bundled_cli(), folders=agent_folders(tmp_path))


async def test_find_no_problem_here(launch: AgentLaunch, tmp_path: Path) -> None:
    test = JailTest(launch, tmp_path)
    problems = await asyncio.gather(test.problem(), test.problem())

    assert list(problems) == ["", ""]
    assert not list(tmp_path.glob("canary-*"))
    assert not list(launch.folders.glob("*-test-*"))


def test_name_missing_program(launch: AgentLaunch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = jail_report(launch, tmp_path)

    assert report.problem == "bwrap and setpriv and prlimit and choom is not installed"
    assert "bubblewrap" in report.hint


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("bwrap: No permissions to create new namespace, likely because …", "does not allow user namespaces"),
        ("bwrap: setting up uid map: Permission denied", "does not allow user namespaces"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "does not allow mounts"),
        ("bwrap: Unknown option --size", "too old"),
        ("bwrap: Can't find source path /a/claude: Permission denied", "cannot reach a file"),
        ("something else", "cannot be started (something else)"),
    ],
)
def test_explain_why_it_does_not_start(
    launch: AgentLaunch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, problem: str
) -> None:
    monkeypatch.setattr(self_test, "_PROGRAM", f'echo "{error}" >&2; exit 1')
    assert problem in jail_report(launch, tmp_path).problem


def test_find_jail_that_shows_the_state_folder(launch: AgentLaunch) -> None:
    """The operator's setting opens it, in a place that the users of runs can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        state = Path(name, "state")
        state.mkdir()
        state.chmod(0o755)
        report = jail_report(replace(launch, readable=(state,)), state)
    assert report.problem == "the jail does not hold: it can read the state folder"


@pytest.mark.parametrize(
    ("part", "size", "instead", "leak"),
    [
        ("--unshare-all", 1, ["--unshare-all", "--share-net"], "loopback"),
        ("--remount-ro", 2, [], "write to"),
        ("--seccomp", 2, [], "seccomp"),
        ("--nofile=1024", 1, [], "limits"),
    ],
)
def test_find_weak_jail(
    launch: AgentLaunch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    size: int,
    instead: list[str],
    leak: str,
) -> None:
    """A jail with one of its parts missing or changed."""
    whole = Jail.command

    def weakened(jail: Jail, inner: list[str]) -> list[str]:
        command = whole(jail, inner)
        for at in reversed([at for at, word in enumerate(command) if word == part]):
            command[at : at + size] = instead
        return command

    monkeypatch.setattr(Jail, "command", weakened)
    assert leak in jail_report(launch, tmp_path).problem
