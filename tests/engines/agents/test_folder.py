"""Private folders of runs, and their users."""

import os
import stat
from pathlib import Path

import pytest

from apiproxy.engines.agents.folder import AgentFolder, RunUser, agent_folders, sweep_agent_folders
from apiproxy.engines.sdk.launch import sweep

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives runs a user of their own")


def test_create_folder_for_one_user(tmp_path: Path) -> None:
    folder = AgentFolder.create(tmp_path / "agents", "a")
    path = folder.write("system.txt", b"secret")

    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    with pytest.raises(FileExistsError):
        folder.write("system.txt", b"other")
    folder.remove()
    assert not folder.path.exists()


@root_only
def test_give_folder_to_the_user_of_the_run(tmp_path: Path) -> None:
    folder = AgentFolder.create(tmp_path / "gateway" / "agents", "a", uid=65_001)

    assert folder.path.stat().st_uid == 65_001
    assert folder.write("system.txt", b"").stat().st_uid == 65_001
    assert stat.S_IMODE(folder.path.parent.stat().st_mode) == 0o711


@root_only
def test_take_a_user_that_no_other_run_has() -> None:
    first = RunUser.take(64_990, 64_991)
    second = RunUser.take(64_990, 64_991)
    try:
        assert {first.uid, second.uid} == {64_990, 64_991}
        with pytest.raises(OSError, match="in use"):
            RunUser.take(64_990, 64_991)
    finally:
        first.release()
    third = RunUser.take(64_990, 64_991)
    assert third.uid == first.uid
    third.release()
    second.release()


def test_sweep_folders_of_dead_processes(tmp_path: Path) -> None:
    folder = AgentFolder.create(tmp_path, "a")
    dead = tmp_path / "999999999-b"
    dead.mkdir()

    assert sweep(tmp_path) == 1
    assert folder.path.exists()
    assert not dead.exists()


def test_folders_of_two_gateways_differ(tmp_path: Path) -> None:
    assert agent_folders(tmp_path / "a") != agent_folders(tmp_path / "b")


@root_only
def test_leave_nothing_of_a_gateway_for_root(tmp_path: Path) -> None:
    ended, crashed = agent_folders(tmp_path / "ended"), agent_folders(tmp_path / "crashed")
    folder = AgentFolder.create(ended, "a", uid=65_001)
    (crashed / "999999999-b").mkdir(parents=True)

    folder.remove()
    sweep_agent_folders(tmp_path / "other")

    assert not ended.exists()
    assert not crashed.exists()
