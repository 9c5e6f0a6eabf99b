"""The first administrator and key: shown on a terminal, or else kept in a file for the gateway's user alone."""

import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import GatewayProcess, sign_in
from tests.support.processes import ROOT, clean_environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

START_S, STOP_S = 120.0, 40.0
ENV = {"CLAUDE_PROXY_API_KEY": "", "CLAUDE_PROXY_WARM_WORKERS": "1"}
QUESTION = {"model": "sonnet", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


@contextmanager
def on_a_terminal(state_dir: Path) -> Iterator[Callable[[], str]]:
    """A demo gateway whose output goes to a terminal; gives what that one shows. Ends it, which must be with 0."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    shown = bytearray()

    def screen() -> str:
        try:
            while piece := os.read(ours, 65_536):
                shown.extend(piece)
        except OSError:  # nothing more for now, or for good
            pass
        return shown.decode(errors="replace").replace("\r\n", "\n")

    own = {"CLAUDE_PROXY_PORT": "0", "CLAUDE_PROXY_STATE_DIR": str(state_dir), "DJANGO_COLORS": "nocolor"}
    env = clean_environment(**ENV, **own)
    command = [sys.executable, "manage.py", "serve"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.PIPE, cwd=ROOT, env=env)
    os.close(theirs)
    try:
        with process:
            try:
                eventually(lambda: "listening on" in screen() or process.poll() is not None, within_s=START_S)
                yield screen
            finally:
                process.terminate()
                eventually(lambda: (screen(), process.poll())[1] is not None, within_s=STOP_S)
        assert process.returncode == 0, screen()
    finally:
        os.close(ours)


def test_shows_the_first_login_once_on_a_terminal(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path) as screen:
        said = screen()
    assert "DEMO MODE" in said
    assert re.search(r"Administrator \(shown once\): admin / \S{12,}", said)
    key = re.search(r"API key \(shown once\): (sk-\S+)", said)
    assert key is not None
    assert f'-H "x-api-key: {key[1]}"' in said
    assert not list(tmp_path.glob("first-login*"))

    with on_a_terminal(tmp_path) as screen:
        said = screen()
    assert "shown once" not in said
    assert '-H "x-api-key: $GATEWAY_KEY"' in said
    assert "manage.py createapikey NAME" in said
    assert "manage.py changepassword admin" in said


@pytest.mark.parametrize("processes", ["1", "2"])
def test_keeps_the_first_login_in_a_file_without_a_terminal(processes: str, tmp_path: Path) -> None:
    env = {**ENV, "CLAUDE_PROXY_PROCESSES": processes}
    first = GatewayProcess(tmp_path, upstream=None, env=env).start()
    try:
        (kept,) = first.state_dir.glob("first-login*")
        login = first.first_login()
        assert login.api_key is not None
        assert login.password not in first.output
        assert login.api_key not in first.output
        assert str(kept) in first.output
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert sign_in(first)
        url = f"{first.base_url}/v1/messages"
        headers = {"x-api-key": login.api_key}
        answer = httpx.post(url, json=QUESTION, headers=headers, timeout=60)
        assert answer.status_code == 200
        assert "demo" in answer.json()["content"][0]["text"].lower()
        assert httpx.get(f"{first.base_url}/metrics", headers=headers, timeout=60).status_code == 403
    finally:
        assert first.stop() == 0
    kept.unlink()
    second = GatewayProcess(tmp_path, upstream=None, env=env).start()
    try:
        assert not list(second.state_dir.glob("first-login*"))
    finally:
        assert second.stop() == 0
