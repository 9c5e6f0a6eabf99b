"""Validation of an agent's fields."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from apiproxy.core.agents import BARE_TOOLS, FULL_TOOLS
from apiproxy.models.names import validate_names

MAX_SLUG_CHARS = 64
VERSION_MARK = "@"
MAX_SERVERS = 20
MAX_SCHEMA_CHARS = 65_536
_MAX_SCHEMA_DEPTH = 32
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MIN_THINKING = 1_024
_MAX_THINKING = 1_000_000
TOOLS = (*BARE_TOOLS, *FULL_TOOLS)


def validate_slug(value: str) -> None:
    """Validate the id of an agent."""
    if not _SLUG.fullmatch(value) or value == "none":  # which matches nothing in a key's list
        raise ValidationError(
            "Lower-case letters, digits, dots, hyphens and underscores, a letter or digit first.", code="slug"
        )


def validate_tools(value: object) -> None:
    """Validate a list of built-in tools."""
    validate_names(value)
    names: Collection[object] = value if isinstance(value, list) else ()
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise ValidationError(f"Built-in tools are {', '.join(TOOLS)}.", code="tools")


def validate_server_names(value: object) -> None:
    """Validate a list of names of MCP servers."""
    validate_names(value)
    if isinstance(value, list) and len(value) > MAX_SERVERS:
        raise ValidationError(f"At most {MAX_SERVERS} servers.", code="servers")


def validate_thinking(value: object) -> None:
    """Validate `thinking` of the Messages API: adaptive, disabled, or enabled with a budget."""
    match value:
        case {"type": "adaptive" | "disabled", **rest} if not rest:
            return
        case {"type": "enabled", "budget_tokens": int(budget), **rest} if not rest and not isinstance(budget, bool):
            if _MIN_THINKING <= budget <= _MAX_THINKING:
                return
    raise ValidationError(
        'Must be {"type": "adaptive"}, {"type": "disabled"} or {"type": "enabled", "budget_tokens": N} with N from '
        f"{_MIN_THINKING:,} to {_MAX_THINKING:,}.",
        code="thinking",
    )


def validate_schema(value: object) -> None:
    """Validate the JSON schema of an answer: an object of bounded size, for an object."""
    if not isinstance(value, Mapping) or value.get("type") != "object":
        raise ValidationError('Must be a JSON schema with "type": "object".', code="schema")
    if not isinstance(value.get("properties", {}), Mapping):
        raise ValidationError('"properties" must be an object.', code="schema")
    if _depth_exceeds(value, _MAX_SCHEMA_DEPTH) or len(json.dumps(value)) > MAX_SCHEMA_CHARS:
        raise ValidationError(
            f"At most {MAX_SCHEMA_CHARS:,} characters, and {_MAX_SCHEMA_DEPTH} levels.", code="schema"
        )


def _depth_exceeds(value: object, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        inner = [it.values() if isinstance(it, Mapping) else it for it in level if isinstance(it, Mapping | list)]
        level = [part for parts in inner for part in parts]
        if not level:
            return False
    return True
