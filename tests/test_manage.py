"""The command line as an operator meets it, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 120


def run(*arguments: str, state_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"CLAUDE_PROXY_STATE_DIR": str(state_dir)} | env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def settings_with(names: str, *, state_dir: Path, **env: str) -> dict[str, Any]:
    picked = f"{{name: getattr(settings, name) for name in {names.split()}}}"
    code = f"import json; from proxy_site import settings; print(json.dumps({picked}))"
    values: dict[str, Any] = json.loads(run("-c", code, state_dir=state_dir, **env).stdout)
    return values


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"CLAUDE_PROXY_MAX_CONCURRENT": "many"}, "'many' is not allowed; it must be a whole number from 1 to 1000."),
        ({"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-hunter2"}, "Anthropic's terms"),
    ],
)
def test_end_start_with_one_line_for_wrong_setting(env: dict[str, str], message: str, tmp_path: Path) -> None:
    ended = run("manage.py", "serve", state_dir=tmp_path, **env)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith(f"manage.py: {next(iter(env))}")
    assert message in ended.stderr
    assert "hunter2" not in ended.stderr


def test_pass_djangos_checks_with_fresh_state_folder(tmp_path: Path) -> None:
    ended = run("manage.py", "check", "--fail-level", "WARNING", state_dir=tmp_path / "new")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_set_secure_cookies_and_hide_debug_pages(tmp_path: Path) -> None:
    names = "DEBUG SESSION_COOKIE_SECURE CSRF_COOKIE_SECURE SECURE_PROXY_SSL_HEADER"
    plain = settings_with(names, state_dir=tmp_path, CLAUDE_PROXY_DEBUG="1")
    assert plain == dict.fromkeys(names.split(), False) | {"SECURE_PROXY_SSL_HEADER": None}
    behind = settings_with(names, state_dir=tmp_path, CLAUDE_PROXY_HTTPS="1")
    assert (behind["SESSION_COOKIE_SECURE"], behind["CSRF_COOKIE_SECURE"]) == (True, True)
    assert behind["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]


def test_prefer_signing_key_of_environment(tmp_path: Path) -> None:
    assert settings_with("SECRET_KEY", state_dir=tmp_path, CLAUDE_PROXY_SECRET_KEY="mine") == {"SECRET_KEY": "mine"}
    assert not (tmp_path / "secret_key").exists()
