"""Startup banner, printed when the gateway accepts requests."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from django.core.management.color import Style

from apiproxy.core.version import VERSION
from apiproxy.keys.bootstrap import FirstSecrets

_BODY = '{"model": "sonnet", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}'
KEY_VARIABLE = "GATEWAY_KEY"
"""Shell variable for the key in the example. Not CLAUDE_PROXY_…: the gateway rejects unknown ones of those."""


def banner_lines(
    url: str,
    *,
    demo: bool,
    first: FirstSecrets,
    kept_in: Path | None = None,
    style: Style,
    setup: str = "",
    key_variable: str = KEY_VARIABLE,
) -> Iterator[str]:
    """Lines of the banner; the address is the last one.

    first: secrets created by this start. kept_in: file with those secrets, shown in place of them. setup: describes the
    processes. key_variable: shell variable that has an API key.
    """
    yield style.MIGRATE_HEADING(f"Claude gateway {VERSION}")
    if demo:
        yield style.WARNING("DEMO MODE: no upstream credential is set; a built-in stand-in answers.")
        yield "Set ANTHROPIC_API_KEY to get answers from a model."
    if setup:
        yield setup
    yield f"Dashboard: {url}/dashboard/"
    shown_key = "" if kept_in else first.api_key
    if kept_in:
        yield f"First login (administrator and API key): {kept_in}"
    elif first.admin_password:
        yield f"Administrator (shown once): {first.admin_name} / {style.SUCCESS(first.admin_password)}"
    if shown_key:
        yield f"API key (shown once): {style.SUCCESS(shown_key)}"
    if not first:
        yield f"Another API key: {_command('createapikey NAME')}"
        yield f"Another password: {_command('changepassword admin')}"
    yield "Try:"
    yield f"  curl {url}/v1/messages \\"
    yield f'    -H "x-api-key: {shown_key or f"${key_variable}"}" -H "content-type: application/json" \\'
    yield f"    -d '{_BODY}'"
    yield f"listening on {url}"


def _command(arguments: str) -> str:
    """Command line for this installation, whose Python may not be on PATH."""
    python = Path(sys.executable)
    here = Path.cwd()
    shown = python.relative_to(here) if python.is_relative_to(here) else python
    return f"{shlex.quote(str(shown))} {shlex.quote(sys.argv[0])} {arguments}"
