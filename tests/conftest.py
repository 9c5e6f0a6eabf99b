"""Gives every test process a state folder of its own, and none of the shell's settings, before Django starts."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

_FOREIGN_PREFIXES = ("CLAUDE_", "ANTHROPIC_", "AWS_", "DATABASE_URL", "REDIS_URL", "HTTP_PROXY", "HTTPS_PROXY")

for _name in [name for name in os.environ if name.upper().startswith(_FOREIGN_PREFIXES)]:
    del os.environ[_name]
_STATE_DIR = tempfile.mkdtemp(prefix="claude-proxy-test-")
os.environ["CLAUDE_PROXY_STATE_DIR"] = _STATE_DIR
os.environ["CLAUDE_PROXY_PORT"] = "0"


@pytest.fixture(scope="session", autouse=True)
def _remove_state_dir() -> Iterator[None]:
    yield
    shutil.rmtree(_STATE_DIR, ignore_errors=True)
