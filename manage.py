#!/usr/bin/env python
"""The command line of the gateway: `manage.py serve`, `manage.py doctor`, and Django's own commands."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Runs the command given on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
