"""Tests touch nothing of the gateway that may run from the same folder."""

import os
import tempfile
from pathlib import Path

from django.conf import settings


def test_give_test_process_its_own_state_folder() -> None:
    assert settings.GATEWAY.state_dir.is_relative_to(tempfile.gettempdir())
    assert Path(settings.DATABASES["default"]["NAME"]).is_relative_to(tempfile.gettempdir())


def test_keep_shell_credentials_out_of_tests() -> None:
    assert settings.GATEWAY.credential.kind == "demo"
    assert not [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE_CODE_"))]


def test_processes_that_tests_start_take_the_usual_settings() -> None:
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "proxy_site.settings"
