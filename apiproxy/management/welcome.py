"""What an operator reads on the console when the gateway takes requests."""

from collections.abc import Iterator

from django.core.management.color import Style

from apiproxy.bootstrap import FirstSecrets
from apiproxy.version import VERSION

_BODY = '{"model": "sonnet", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}'


def welcome(url: str, *, demo: bool, first: FirstSecrets, style: Style, setup: str = "") -> Iterator[str]:
    """The lines, the address last. Secrets that were made just now stand here this once. setup: how it is served."""
    yield style.MIGRATE_HEADING(f"Claude gateway {VERSION}")
    if demo:
        yield style.WARNING("DEMO MODE: no upstream credential is set; a built-in stand-in answers.")
        yield "Set ANTHROPIC_API_KEY to get answers of a model."
    if setup:
        yield setup
    yield f"Dashboard: {url}/dashboard/"
    if first.admin_password:
        yield f"Administrator (shown once): {first.admin_name} / {style.SUCCESS(first.admin_password)}"
    if first.api_key:
        yield f"API key (shown once): {style.SUCCESS(first.api_key)}"
    yield "Try:"
    yield f"  curl {url}/v1/messages \\"
    yield f'    -H "x-api-key: {first.api_key or "$CLAUDE_PROXY_KEY"}" -H "content-type: application/json" \\'
    yield f"    -d '{_BODY}'"
    yield f"listening on {url}"
