"""References and `allOf` in JSON schemas, resolved where the API does not take them.

Generators write `{"allOf": [{"$ref": …}], "default": …}` for a field with a default (pydantic up to 2.8), a root that
is a reference (pydantic's RootModel), or `allOf` of objects for an intersection (zod); the API rejects each of them in
some place. Definitions are copied where they are used, so the work on one schema is limited: a small one can stand for
an endless one.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

Schema = Mapping[str, Any]

DEFINITIONS = ("$defs", "definitions")
ANNOTATIONS = frozenset(
    {
        *("title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "deprecated"),
        *("readOnly", "writeOnly", "discriminator"),
    }
)
MAX_WORK = 50_000
"""Values of a schema, those in copies included. The API compiles no schema that comes near."""
_CHARS_PER_VALUE = 64
_MAX_HOPS = 100
_BESIDE = ANNOTATIONS | set(DEFINITIONS)


class UnresolvableError(Exception):
    """A reference leads nowhere, schemas contradict each other, or a schema is too large."""


class References:
    """Definitions of one schema, and the work that may still be spent on it."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = MAX_WORK

    def spend(self, values: int) -> None:
        """Count work. Raises UnresolvableError when it is too much."""
        self._left -= values
        if self._left < 0:
            raise UnresolvableError("it is too large")

    def spend_on(self, value: object) -> None:
        """Count all values in a value, and long texts as several."""
        waiting = [value]
        while waiting:
            part = waiting.pop()
            self.spend(1 + len(part) // _CHARS_PER_VALUE if isinstance(part, str) else 1)
            if isinstance(part, Mapping):
                self.spend(len(part))
                waiting.extend(part.values())
            elif isinstance(part, list):
                self.spend(len(part))
                waiting.extend(part)

    def target(self, reference: object) -> Schema:
        """Definition that a reference names. Raises UnresolvableError."""
        place = definition_of(reference)
        definitions = self._root.get(place[0]) if place is not None else None
        found = definitions.get(place[1]) if place is not None and isinstance(definitions, Mapping) else None
        if not isinstance(found, Mapping):
            raise UnresolvableError("it has a reference to something other than its own definitions")
        return found

    def followed(self, schema: Schema) -> Schema:
        """The schema with the definition instead of a reference; other keywords are kept."""
        for _ in range(_MAX_HOPS):
            if "$ref" not in schema:
                return schema
            found = self.target(schema["$ref"])
            self.spend(len(found) + len(schema))
            schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
        raise UnresolvableError("it has a reference that leads to no schema")

    def without_all_of(self, schema: Schema) -> Schema:
        """The schema with its `allOf` members merged.

        Raises UnresolvableError if they contradict each other.
        """
        for _ in range(_MAX_HOPS):
            if "allOf" not in schema:
                return schema
            beside = {name: value for name, value in schema.items() if name in _BESIDE}
            parts = schemas_in(schema["allOf"])
            if rest := {name: value for name, value in schema.items() if name not in _BESIDE and name != "allOf"}:
                parts = [rest, *parts]
            if len(parts) > 1:
                parts = [self.followed(part) for part in parts]
            schema = self._merged([beside, *parts])
        raise UnresolvableError("it has allOf within allOf too often")

    def _merged(self, parts: Sequence[Schema]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in parts:
            self.spend(len(part))
            for name, value in part.items():
                merged[name] = value if name not in merged else self._both(name, merged[name], value)
        return merged

    def _both(self, name: str, first: Any, second: Any) -> Any:
        """Value of a keyword that two members of `allOf` have."""
        if name in ANNOTATIONS:
            return first
        self.spend_on(second)
        self.spend(len(first) if isinstance(first, Mapping | list) else 1)  # copied below, for every member
        if first == second:
            return first
        if name == "properties" and isinstance(first, Mapping) and isinstance(second, Mapping):
            shared = {key: {"allOf": [first[key], value]} for key, value in second.items() if key in first}
            return {**first, **second, **shared}
        if name in ("required", "allOf") and isinstance(first, list) and isinstance(second, list):
            return [*first, *second]
        if name == "additionalProperties":
            return False
        raise UnresolvableError(f"it combines schemas with a different {name}")


def definition_of(reference: object) -> tuple[str, str] | None:
    """Keyword and name of the definition that a reference names; None for another kind of reference."""
    if not isinstance(reference, str):
        return None
    for keyword in DEFINITIONS:
        name = reference.removeprefix(f"#/{keyword}/")
        if name != reference and name and "/" not in name:
            return keyword, unquote(name).replace("~1", "/").replace("~0", "~")
    return None


def schemas_in(members: object) -> list[Schema]:
    """Members of `allOf`, `anyOf` or `oneOf`. Raises UnresolvableError unless they are schemas."""
    if not isinstance(members, list) or not all(isinstance(member, Mapping) for member in members):
        raise UnresolvableError("a part of it should be a list of schemas")
    return members


def object_root(schema: Schema) -> tuple[dict[str, Any], str | None]:
    """The schema with its properties at the top level, as tools require.

    Also the keyword that was removed for that.
    The API rejects a reference, `allOf`, `anyOf` and `oneOf` there. Left as it is if it cannot be resolved.
    """
    references = References(schema)
    try:
        root = references.without_all_of(references.followed(schema))
        for keyword in ("anyOf", "oneOf"):
            if keyword in root:
                return _either(root, keyword, references), keyword
        return dict(root), None
    except UnresolvableError:
        return dict(schema), None


def _either(root: Schema, keyword: str, references: References) -> dict[str, Any]:
    """An object with the properties of all alternatives, of which those that all require are required."""
    rest = {name: value for name, value in root.items() if name != keyword}
    variants = {name: [part] for name, part in _properties(rest, references).items()}
    always = set(_required(rest, references))
    in_all: set[str] | None = None
    for member in schemas_in(root[keyword]):
        alternative = references.without_all_of(references.followed(member))
        if alternative.get("type", "object") != "object":
            raise UnresolvableError("an alternative is no object")
        for name, part in _properties(alternative, references).items():
            known = variants.setdefault(name, [part])
            if known[-1] != part:
                known.append(part)
        needed = set(_required(alternative, references))
        in_all = needed if in_all is None else in_all & needed
    properties = {name: parts[0] if len(parts) == 1 else {"anyOf": parts} for name, parts in variants.items()}
    required = [name for name in properties if name in always or name in (in_all or ())]
    return {**rest, "type": "object", "properties": properties, "required": required}


def _properties(schema: Schema, references: References) -> Mapping[str, Any]:
    found = schema.get("properties", {})
    if not isinstance(found, Mapping):
        raise UnresolvableError("its properties are no object")
    references.spend_on(found)
    return found


def _required(schema: Schema, references: References) -> list[str]:
    found = schema.get("required")
    references.spend_on(found)
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
