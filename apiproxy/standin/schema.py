"""Minimal value for a JSON schema: the arguments of demo tool calls."""

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 12
_FORMATS = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T12:00:00Z",
    "time": "12:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
}

Schema = Mapping[str, Any]


def minimal(schema: object, *, root: Schema | None = None, depth: int = 0) -> Any:
    """Build a minimal valid value.

    It has the required properties only, the first alternative and the smallest size. Ignores `pattern`,
    `not` and `if`. None below a depth of 12, which a recursive schema reaches.
    """
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    root = schema if root is None else root
    if "$ref" in schema:
        return minimal(_resolve(schema["$ref"], root), root=root, depth=depth + 1)
    if "const" in schema:
        return schema["const"]
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][0]
    if "default" in schema:
        return schema["default"]
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return minimal({**_without(schema, name), **schema[name][0]}, root=root, depth=depth + 1)
    if schema.get("allOf"):
        return minimal(_merged(schema, root), root=root, depth=depth + 1)
    return _of_type(schema, root, depth)


def _of_type(schema: Schema, root: Schema, depth: int) -> Any:
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    match kind:
        case "object":
            properties = schema.get("properties", {})
            required = schema.get("required", ())
            return {name: minimal(properties.get(name, {}), root=root, depth=depth + 1) for name in required}
        case "array":
            item = minimal(schema.get("items", {}), root=root, depth=depth + 1)
            return [item] * schema.get("minItems", 0)
        case "number" | "integer":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema)


def _number(schema: Schema) -> float:
    step = schema.get("multipleOf", 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    value = -(-least // step) * step  # first multiple that is not below the minimum
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        value += step
    if most is not None and value > most:
        value = most
    return int(value) if schema.get("type") == "integer" or float(value).is_integer() else float(value)


def _string(schema: Schema) -> str:
    text: str = _FORMATS.get(schema.get("format", ""), "demo")
    return text.ljust(schema.get("minLength", 0), "o")[
        : schema.get("maxLength", len(text) + schema.get("minLength", 0))
    ]


def _resolve(reference: object, root: Schema) -> object:
    target: object = root
    for step in str(reference).removeprefix("#").strip("/").split("/") if reference != "#" else ():
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target


def _merged(schema: Schema, root: Schema) -> Schema:
    merged: dict[str, Any] = dict(_without(schema, "allOf"))
    for part in schema["allOf"]:
        part = _resolve(part["$ref"], root) if "$ref" in part else part
        if isinstance(part, Mapping):
            both = {
                "properties": {**merged.get("properties", {}), **part.get("properties", {})},
                "required": [*merged.get("required", ()), *part.get("required", ())],
            }
            merged = {**merged, **part, **{name: value for name, value in both.items() if value}}
    return merged


def _without(schema: Schema, name: str) -> Schema:
    return {key: value for key, value in schema.items() if key != name}
