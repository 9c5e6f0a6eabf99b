#!/usr/bin/env python
"""The command line of the gateway: `manage.py serve`, `manage.py doctor`, and Django's own commands."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

from proxy_site.env import SettingError


def main() -> None:
    """Runs the command given on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
    try:
        execute_from_command_line(sys.argv)
    except SettingError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


if __name__ == "__main__":
    main()
