"""The system's Chromium. Where there is none the test is skipped; with CI=true it fails."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own. Its event loop is in the way of asynchronous tests until it is closed."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        assert os.environ.get("CI") != "true", "CI must have a Chromium"
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield launched
        launched.close()
