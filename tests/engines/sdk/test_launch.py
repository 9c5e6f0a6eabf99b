"""A worker process gets flags, an allow-list of variables, and a folder that is removed with it."""

import os
import stat
from pathlib import Path

import pytest

from apiproxy.engines.sdk.launch import LaunchSpec, WorkerFolder, bundled_cli, sweep

SHELL = {
    "PATH": "/usr/bin",
    "LANG": "C.UTF-8",
    "HOME": "/home/operator",
    "DATABASE_URL": "postgres://user:secret@db/name",
    "CLAUDE_PROXY_SECRET_KEY": "secret",
    "CLAUDE_PROXY_API_KEY": "secret",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:3456",
    "ANTHROPIC_AUTH_TOKEN": "secret",
    "CLAUDE_CODE_OAUTH_TOKEN": "secret",
    "NODE_OPTIONS": "--inspect",
}


@pytest.fixture
def folder(tmp_path: Path) -> WorkerFolder:
    return WorkerFolder.create(tmp_path, "abc")


def spec(tmp_path: Path, **credential: str) -> LaunchSpec:
    return LaunchSpec(
        cli=Path("/opt/claude"),
        folders=tmp_path,
        max_duration_ms=3_600_000,
        stall_timeout_ms=400_000,
        credential_env=credential,
    )


def test_pass_no_environment_but_locale_to_worker(tmp_path: Path, folder: WorkerFolder) -> None:
    environment = spec(tmp_path, ANTHROPIC_API_KEY="sk-upstream").environment(folder, SHELL)

    assert list(Path(environment["PATH"]).iterdir()) == []
    assert environment["LANG"] == "C.UTF-8"
    assert environment["ANTHROPIC_API_KEY"] == "sk-upstream"
    assert "secret" not in " ".join(environment.values())
    assert not {"DATABASE_URL", "ANTHROPIC_BASE_URL", "NODE_OPTIONS"} & environment.keys()


def test_everything_that_a_worker_writes_lies_in_its_own_folder(tmp_path: Path, folder: WorkerFolder) -> None:
    environment = spec(tmp_path).environment(folder, SHELL)

    for name in ("HOME", "CLAUDE_CONFIG_DIR", "TMPDIR"):
        path = Path(environment[name])
        assert path.is_dir()
        assert path.is_relative_to(folder.path)
    assert list(folder.cwd.iterdir()) == []


def test_set_cli_timeouts_above_gateways(tmp_path: Path, folder: WorkerFolder) -> None:
    environment = spec(tmp_path).environment(folder, {})

    assert int(environment["API_TIMEOUT_MS"]) >= 3_600_000
    assert int(environment["CLAUDE_STREAM_IDLE_TIMEOUT_MS"]) > 400_000


def test_keep_secrets_out_of_command_line_and_repr(tmp_path: Path) -> None:
    launch = spec(tmp_path, ANTHROPIC_API_KEY="sk-upstream")

    assert "sk-upstream" not in " ".join(launch.command())
    assert "sk-upstream" not in repr(launch)


def test_find_bundled_cli_that_runs() -> None:
    assert os.access(bundled_cli(), os.X_OK)


def test_create_private_worker_folder_and_remove_it_all(folder: WorkerFolder) -> None:
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    (folder.path / "config" / "session.json").write_text("{}")

    folder.remove()

    assert not folder.path.exists()


def test_sweep_only_folders_of_dead_servers(tmp_path: Path, folder: WorkerFolder) -> None:
    dead = tmp_path / "4194305-abc"  # above the kernel's highest process id
    (dead / "tmp").mkdir(parents=True)
    other = tmp_path / "not-ours"
    other.mkdir()

    assert sweep(tmp_path) == 1

    assert sorted(tmp_path.iterdir()) == sorted([folder.path, other])


def test_there_is_nothing_to_sweep_before_the_first_start(tmp_path: Path) -> None:
    assert sweep(tmp_path / "missing") == 0
