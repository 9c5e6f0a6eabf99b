"""Conversion of JSON schemas to Claude's structured output subset.

The API returns 400 for anything else (the platform's page on structured outputs, "JSON Schema limitations"). As in
Anthropic's SDKs, unsupported constraints move to the description, and objects are closed, which only narrows the set
of answers. Recursive schemas cannot be converted, nor objects with free keys, of which only `{}` would be left.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Limits for all strict schemas of a request together, from the API's error messages.
MAX_UNIONS = 16
MAX_OPTIONALS = 24
MAX_DEPTH = 100
MAX_PARTS = 10_000
"""Values of a schema, far more than the API compiles. A converted schema is a second one in memory."""

_DEFINITIONS = ("$defs", "definitions")
_SUPPORTED = frozenset({"type", "title", "description", "default", "required", "const"})
_NESTING = {"items": "items", "anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"} | {d: d for d in _DEFINITIONS}
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
# Annotations; `_close_object` handles the last two.
_DROPPED = frozenset({"$schema", "$id", "$comment", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"})
_DROPPED |= {"properties", "additionalProperties"}
_VALUE_KEYWORDS = frozenset({"type", "$ref", "anyOf", "allOf", "enum", "const"})
_UNSUPPORTED_PATTERN = ("(?=", "(?!", "(?<", "\\b", "\\B")
_LOCAL_DEFINITION = re.compile(r"#/(\$defs|definitions)/[^/]+")


class NoStrictFormError(Exception):
    """The schema cannot be expressed in structured outputs."""


@dataclass(slots=True)
class StrictBudget:
    """Use of the API's limits by the strict schemas of one request."""

    unions: int = 0
    optionals: int = 0

    @property
    def spent(self) -> bool:
        """True if the API would reject the schemas counted so far."""
        return self.unions > MAX_UNIONS or self.optionals > MAX_OPTIONALS


def strict_form(schema: Mapping[str, Any], budget: StrictBudget) -> dict[str, Any]:
    """Convert a schema to the supported subset, and add its use to the budget.

    Raises NoStrictFormError if that is impossible or exceeds the budget, which is then unchanged.
    """
    if _has_more_parts(schema, MAX_PARTS):
        raise NoStrictFormError(f"it has more than {MAX_PARTS} values")
    if _is_recursive(schema):
        raise NoStrictFormError("it is recursive")
    total = StrictBudget(budget.unions, budget.optionals)
    result = _rewrite(schema, total, 0)
    if total.spent:
        raise NoStrictFormError(f"more than {MAX_UNIONS} union-typed or {MAX_OPTIONALS} optional properties")
    budget.unions, budget.optionals = total.unions, total.optionals
    return result


def _has_more_parts(schema: object, limit: int) -> bool:
    """True if a schema has more values at all levels than the limit."""
    todo, count = [schema], 0
    while todo and count <= limit:
        here = todo.pop()
        children = here.values() if isinstance(here, Mapping) else here if isinstance(here, list) else ()
        count += len(children)
        if count <= limit:
            todo.extend(children)
    return count > limit


def _rewrite(schema: object, used: StrictBudget, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        raise NoStrictFormError("a part of it is not a schema object, or nested too deeply")
    result: dict[str, Any] = {}
    dropped_keywords: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NESTING:
            if _NESTING[key] in result:
                raise NoStrictFormError("it has both anyOf and oneOf in one place")
            result[_NESTING[key]] = _nested(key, value, used, depth + 1)
        elif key not in _DROPPED:
            (result if _is_supported(key, value) else dropped_keywords)[key] = value
    _close_object(schema, result, used, depth)
    if not result.keys() & _VALUE_KEYWORDS:
        raise NoStrictFormError("a part of it allows any value")
    _describe_dropped(dropped_keywords, result)
    return result


def _nested(key: str, value: object, used: StrictBudget, depth: int) -> object:
    if key == "items":
        return _rewrite(value, used, depth)
    if key in _DEFINITIONS:
        return {name: _rewrite(part, used, depth) for name, part in _mapping(value).items()}
    return [_rewrite(part, used, depth) for part in _list(value)]


def _is_supported(key: str, value: Any) -> bool:
    """True if the constraint is supported.

    Raises NoStrictFormError if a description cannot replace it either.
    """
    match key:
        case "$ref":
            if not _LOCAL_DEFINITION.fullmatch(str(value)):
                raise NoStrictFormError("it has a reference to something other than its own definitions")
            return True
        case "enum":
            if any(isinstance(choice, dict | list) for choice in _list(value)):
                raise NoStrictFormError("it lists objects or arrays as values")
            return True
        case "format":
            return isinstance(value, str) and value in _FORMATS
        case "minItems":
            return value in (0, 1)
        case "pattern":
            return not any(part in str(value) for part in _UNSUPPORTED_PATTERN)
        case _:
            return key in _SUPPORTED


def _close_object(schema: Mapping[str, Any], result: dict[str, Any], used: StrictBudget, depth: int) -> None:
    """Close an object to its declared properties, and update the budget."""
    kind = schema.get("type")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind) and "properties" not in schema:
        return
    properties = _mapping(schema.get("properties", {}))
    if not properties and schema.get("additionalProperties", "properties" not in schema) is not False:
        raise NoStrictFormError("it has an object with free keys")
    result.setdefault("type", "object")
    result["properties"] = {name: _rewrite(part, used, depth + 1) for name, part in properties.items()}
    result["additionalProperties"] = False
    required = {name for name in _list(schema.get("required", [])) if isinstance(name, str)}
    used.optionals += sum(name not in required for name in properties)
    used.unions += sum(_is_union(part) for part in result["properties"].values())


def _is_union(schema: Mapping[str, Any]) -> bool:
    return "anyOf" in schema or isinstance(schema.get("type"), list)


def _describe_dropped(dropped_keywords: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Move dropped constraints to the description, which the model reads."""
    if not dropped_keywords:
        return
    dropped = "{" + ", ".join(f"{key}: {value}" for key, value in dropped_keywords.items()) + "}"
    description = result.get("description")
    result["description"] = f"{description}\n\n{dropped}" if description else dropped


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    """True if a definition refers to itself, directly or not."""
    uses: dict[str, set[str]] = {}
    for keyword in _DEFINITIONS:
        definitions = schema.get(keyword)
        if isinstance(definitions, Mapping):
            uses |= {f"#/{keyword}/{name}": _references_in(part) for name, part in definitions.items()}
    return _has_cycle(uses)


def _has_cycle(uses: Mapping[str, set[str]]) -> bool:
    """True if the graph has a cycle.

    Visits each name once, as a search from every name would be quadratic.
    """
    entered: set[str] = set()
    left: set[str] = set()
    for start in uses:
        path = [(start, iter(uses[start]))] if start not in entered else []
        entered.add(start)
        while path:
            name, following = path[-1]
            found = next(following, None)
            if found is None:
                left.add(name)
                path.pop()
            elif found not in entered:
                entered.add(found)
                path.append((found, iter(uses.get(found, ()))))
            elif found not in left:  # on the current path
                return True
    return False


def _references_in(part: object) -> set[str]:
    found: set[str] = set()
    todo = [part]
    while todo:
        here = todo.pop()
        if isinstance(here, Mapping):
            if isinstance(here.get("$ref"), str):
                found.add(here["$ref"])
            todo.extend(here.values())
        elif isinstance(here, list):
            todo.extend(here)
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise NoStrictFormError("a part of it should be an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise NoStrictFormError("a part of it should be a list")
    return value
