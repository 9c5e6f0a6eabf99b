"""`ANTHROPIC_CUSTOM_HEADERS`: headers for all upstream requests, one `Name: value` per line."""

import re
from collections.abc import Iterator

VARIABLE = "ANTHROPIC_CUSTOM_HEADERS"
_LINE_END = re.compile(r"\r?\n")


def parse_custom_headers(text: str) -> Iterator[tuple[str, str]]:
    """Names, as they are spelled, and values; read as the Claude CLI reads them."""
    for line in _LINE_END.split(text):
        name, colon, value = line.partition(":")
        if colon and name.strip():
            yield name.strip(), value.strip()
