"""The arguments that a demo tool call passes."""

from typing import Any

import pytest

from apiproxy.standin.schema import minimal

POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object"}, {}),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "demo"}),
        ({"properties": {"a": POINT}, "required": ["a"]}, {"a": {"x": 0}}),
        ({"type": "string", "minLength": 6}, "demooo"),
        ({"type": "string", "maxLength": 2}, "de"),
        ({"type": "string", "enum": ["celsius", "kelvin"]}, "celsius"),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "string", "examples": ["Paris"]}, "Paris"),
        ({"type": "string", "default": "Rome"}, "Rome"),
        ({"const": [1]}, [1]),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "minimum": 4, "multipleOf": 5}, 5),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "number", "minimum": 0.5, "maximum": 0.7}, 0.7),
        ({"type": "boolean"}, True),
        ({"type": ["null", "string"]}, None),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"oneOf": [POINT]}, {"x": 0}),
        ({"allOf": [POINT, {"properties": {"y": {"const": 1}}, "required": ["y"]}]}, {"x": 0, "y": 1}),
        ({"$ref": "#/$defs/p", "$defs": {"p": POINT}}, {"x": 0}),
        ({"allOf": [{"$ref": "#/$defs/p"}], "$defs": {"p": POINT}}, {"x": 0}),
        ({"$ref": "#/$defs/missing"}, None),
        (True, None),
    ],
)
def test_make_smallest_valid_value(schema: Any, value: Any) -> None:
    made = minimal(schema)

    assert made == value
    assert type(made) is type(value)


def test_end_on_schema_that_requires_itself() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}, "required": ["child"]}

    assert str(minimal(schema)).count("child") < 20
