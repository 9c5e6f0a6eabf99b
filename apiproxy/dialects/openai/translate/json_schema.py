"""Conversion of JSON schemas to Claude's structured output subset.

The API returns 400 for anything else (the platform's page on structured outputs, "JSON Schema limitations"). As in
Anthropic's SDKs, unsupported constraints move to the description, and objects are closed, which only narrows the set
of answers. A reference stands alone: what is beside it moves to the description of the object around it. Recursive
schemas cannot be converted, nor objects with free keys, of which only `{}` would be left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.translate.patterns import is_supported_pattern
from apiproxy.dialects.openai.translate.schema_references import (
    ANNOTATIONS,
    DEFINITIONS,
    References,
    UnresolvableError,
    definition_of,
)

# Limits for all strict schemas of a request together, from the API's error messages.
MAX_UNIONS = 16
MAX_OPTIONALS = 24
MAX_DEPTH = 100
MAX_PARTS = 10_000
"""Values of a schema, far more than the API compiles. A converted schema is a second one in memory."""

_SUPPORTED = frozenset({"type", "title", "description", "default", "required", "const"})
_NESTING = {"items": "items", "anyOf": "anyOf", "oneOf": "anyOf"} | {d: d for d in DEFINITIONS}
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_DROPPED = ANNOTATIONS - _SUPPORTED | {"properties", "additionalProperties"}  # `_close_object` handles the last two
_VALUE_KEYWORDS = frozenset({"type", "anyOf", "enum", "const"})
_CONSTRAINTS = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("pattern", "format", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
        *("prefixItems", "minProperties", "maxProperties", "patternProperties", "propertyNames", "not", "if"),
        *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems"),
    }
)
"""Keywords that limit the answers, so that one in a description only is worth a word to the client."""


Place = tuple[str, str]
"""Keyword and name of a definition."""


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


def strict_form(
    schema: Mapping[str, Any], budget: StrictBudget, unenforced: dict[str, None] | None = None
) -> dict[str, Any]:
    """Convert a schema to the supported subset, and add its use to the budget.

    unenforced: receives the names of constraints of which only a description is left. Raises NoStrictFormError if the
    conversion is impossible or exceeds the budget, which is then unchanged.
    """
    if _has_more_parts(schema, MAX_PARTS):
        raise NoStrictFormError(f"it has more than {MAX_PARTS} values")
    if _is_recursive(schema):
        raise NoStrictFormError("it is recursive")
    total = StrictBudget(budget.unions, budget.optionals)
    rewriter = _Rewriter(schema, total)
    try:
        result = rewriter.rewrite(schema, 0)
    except UnresolvableError as error:
        raise NoStrictFormError(str(error)) from None
    if total.spent:
        raise NoStrictFormError(f"more than {MAX_UNIONS} union-typed or {MAX_OPTIONALS} optional properties")
    budget.unions, budget.optionals = total.unions, total.optionals
    if unenforced is not None:
        unenforced.update(rewriter.unenforced)
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


class _Rewriter:
    """Conversion of one schema."""

    def __init__(self, root: Mapping[str, Any], used: StrictBudget) -> None:
        self.unenforced: dict[str, None] = {}
        self._references = References(root)
        self._used = used

    def rewrite(self, schema: object, depth: int) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            raise NoStrictFormError("a part of it is not a schema object, or nested too deeply")
        self._references.spend(1)
        schema = self._references.without_all_of(schema)
        if "$ref" in schema:
            return self._reference(schema, depth)
        result: dict[str, Any] = {}
        notes: list[str] = []
        for key, value in schema.items():
            if key in _NESTING:
                if _NESTING[key] in result:
                    raise NoStrictFormError("it has both anyOf and oneOf in one place")
                result[_NESTING[key]] = self._nested(key, value, depth + 1)
            elif key not in _DROPPED:
                self._references.spend_on(value)
                if _is_supported(key, value):
                    result[key] = value
                else:
                    notes.append(self._note(key, value))
        self._close_object(schema, result, notes, depth)
        if not result.keys() & _VALUE_KEYWORDS:
            raise NoStrictFormError("a part of it allows any value")
        if notes:
            description = result.get("description")
            text = "{" + ", ".join(notes) + "}"
            result["description"] = f"{description}\n\n{text}" if description else text
        return result

    def _note(self, key: str, value: object) -> str:
        """A dropped keyword for the description, which the model reads."""
        if key in _CONSTRAINTS:
            self.unenforced[key] = None
        return f"{key}: {value}"

    def _reference(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """The reference alone, but for the definitions at the root."""
        self._references.target(schema["$ref"])
        nested = {key: self._nested(key, schema[key], depth + 1) for key in DEFINITIONS if key in schema}
        return {"$ref": schema["$ref"], **nested}

    def _nested(self, key: str, value: object, depth: int) -> object:
        if key == "items":
            return self.rewrite(value, depth)
        if key in DEFINITIONS:
            return {name: self.rewrite(part, depth) for name, part in _mapping(value).items()}
        return [self.rewrite(part, depth) for part in _list(value)]

    def _close_object(self, schema: Mapping[str, Any], result: dict[str, Any], notes: list[str], depth: int) -> None:
        """Close an object to its declared properties, and update the budget.

        notes: receives what stands beside the references of its properties.
        """
        kind = schema.get("type")
        if kind != "object" and not (isinstance(kind, list) and "object" in kind) and "properties" not in schema:
            return
        properties = _mapping(schema.get("properties", {}))
        if not properties and schema.get("additionalProperties", "properties" not in schema) is not False:
            raise NoStrictFormError("it has an object with free keys")
        result.setdefault("type", "object")
        result["properties"] = {name: self.rewrite(part, depth + 1) for name, part in properties.items()}
        result["additionalProperties"] = False
        required = {name for name in _list(schema.get("required", [])) if isinstance(name, str)}
        self._used.optionals += sum(name not in required for name in properties)
        self._used.unions += sum(_is_union(part) for part in result["properties"].values())
        for name, part in properties.items():
            if "$ref" in result["properties"][name] and (beside := self._beside_reference(part)):
                notes.append(f"{name}: {beside}")

    def _beside_reference(self, part: Mapping[str, Any]) -> str:
        """Description and constraints of one use of a definition."""
        beside = self._references.without_all_of(part)
        self._references.spend_on(beside)
        description = [str(beside["description"])] if beside.get("description") else []
        return ", ".join(description + [self._note(key, beside[key]) for key in beside if key in _CONSTRAINTS])


def _is_supported(key: str, value: Any) -> bool:
    """True if the constraint is supported.

    Raises NoStrictFormError if a description cannot replace it either.
    """
    match key:
        case "enum":
            if any(isinstance(choice, dict | list) for choice in _list(value)):
                raise NoStrictFormError("it lists objects or arrays as values")
            return True
        case "format":
            return isinstance(value, str) and value in _FORMATS
        case "minItems":
            return value in (0, 1)
        case "pattern":
            return is_supported_pattern(value)
        case _:
            return key in _SUPPORTED


def _is_union(schema: Mapping[str, Any]) -> bool:
    return "anyOf" in schema or isinstance(schema.get("type"), list)


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    """True if a definition refers to itself, directly or not."""
    uses: dict[Place, set[Place]] = {}
    for keyword in DEFINITIONS:
        definitions = schema.get(keyword)
        if isinstance(definitions, Mapping):
            uses |= {(keyword, name): _references_in(part) for name, part in definitions.items()}
    return _has_cycle(uses)


def _has_cycle(uses: Mapping[Place, set[Place]]) -> bool:
    """True if the graph has a cycle.

    Visits each name once, as a search from every name would be quadratic.
    """
    entered: set[Place] = set()
    left: set[Place] = set()
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


def _references_in(part: object) -> set[Place]:
    found: set[Place] = set()
    todo = [part]
    while todo:
        here = todo.pop()
        if isinstance(here, Mapping):
            if (place := definition_of(here.get("$ref"))) is not None:
                found.add(place)
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
