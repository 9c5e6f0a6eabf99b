"""Tests touch nothing of the gateway that may run from the same folder."""

import os
import tempfile
from pathlib import Path

from django.conf import settings


def test_a_test_process_has_a_state_folder_of_its_own() -> None:
    assert settings.GATEWAY.state_dir.is_relative_to(tempfile.gettempdir())
    assert Path(settings.DATABASES["default"]["NAME"]).is_relative_to(tempfile.gettempdir())


def test_no_credential_of_the_shell_reaches_the_tests() -> None:
    assert settings.GATEWAY.credential.kind == "demo"
    assert not [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE_CODE_"))]


def test_processes_that_tests_start_take_the_usual_settings() -> None:
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "proxy_site.settings"
