"""Schemas in the subset that structured outputs take."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from apiproxy.dialects.openai.translate.json_schema import (
    MAX_DEPTH,
    MAX_PARTS,
    MAX_UNIONS,
    NoStrictFormError,
    StrictBudget,
    strict_form,
)
from tests.dialects.openai.typed import JSON


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    return strict_form(schema, StrictBudget())


def test_objects_are_closed_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": True}
    schema = {"type": "object", "properties": {"list": {"type": "array", "items": inner}}}
    items = strict(schema)["properties"]["list"]["items"]
    assert items["additionalProperties"] is False
    assert items["properties"] == {"x": {"type": "integer"}}


def test_describe_unsupported_constraints_in_description() -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 9, "description": "A digit.", "title": "Digit"}
    assert strict(schema) == {
        "type": "integer",
        "title": "Digit",
        "description": "A digit.\n\n{minimum: 1, maximum: 9}",
    }
    assert strict({"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1, "maxItems": 3}) == {
        "type": "array",
        "items": {"type": "string", "format": "date"},
        "minItems": 1,
        "description": "{maxItems: 3}",
    }
    assert strict({"type": "string", "format": "color", "pattern": "(?=a)"}) == {
        "type": "string",
        "description": "{format: color, pattern: (?=a)}",
    }


def test_turn_one_of_into_any_of_without_comments() -> None:
    schema = {"$schema": "x", "oneOf": [{"const": 1}, {"type": "null"}], "examples": [1]}
    assert strict(schema) == {"anyOf": [{"const": 1}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object"}, "free keys"),
        ({"type": ["object", "null"], "additionalProperties": {"type": "string"}}, "free keys"),
        ({"type": "object", "properties": {"x": {}}}, "allows any value"),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/B"}]}, "B": {"$ref": "#/$defs/A"}}},
            "recursive",
        ),
        (
            {"type": "object", "properties": {"x": {"$ref": "#"}}},
            "a reference to something other than its own definitions",
        ),
        ({"$ref": "https://example.org/schema"}, "a reference to something other than its own definitions"),
        ({"enum": [{"a": 1}]}, "objects or arrays as values"),
        ({"anyOf": [{"type": "null"}], "oneOf": [{"type": "null"}]}, "both anyOf and oneOf"),
        ({"type": "object", "properties": []}, "should be an object"),
        ({"anyOf": {}}, "should be a list"),
        ({"type": "array", "items": True}, "not a schema object"),
    ],
)
def test_report_reason_for_unsupported_form(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(NoStrictFormError, match=why):
        strict(schema)


def test_reject_endless_schema_before_stack_overflow() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(MAX_DEPTH + 1):
        schema = {"type": "array", "items": schema}
    with pytest.raises(NoStrictFormError, match="too deeply"):
        strict(schema)


def test_limit_schemas_in_total_and_free_rejected_ones() -> None:
    def nullable(number: int) -> dict[str, Any]:
        names = [f"p{index}" for index in range(number)]
        return {"type": "object", "properties": {it: {"type": ["string", "null"]} for it in names}, "required": names}

    budget = StrictBudget()
    strict_form(nullable(MAX_UNIONS - 1), budget)
    with pytest.raises(NoStrictFormError, match="union-typed"):
        strict_form(nullable(2), budget)
    strict_form(nullable(1), budget)
    assert budget.unions == MAX_UNIONS
    with pytest.raises(NoStrictFormError, match="optional"):
        strict_form({"type": "object", "properties": {str(it): {"type": "string"} for it in range(25)}}, StrictBudget())


def test_leave_a_schema_of_too_many_values_unconverted() -> None:
    names = [f"p{number}" for number in range(MAX_PARTS // 2)]
    properties = {name: {"type": "string"} for name in names}
    with pytest.raises(NoStrictFormError, match="more than 10000 values"):
        strict({"type": "object", "properties": properties, "required": names})


class Step(BaseModel):
    explanation: str = Field(min_length=1)
    output: float | None


class Solution(BaseModel):
    steps: list[Step]
    answer: int = Field(ge=0)


def test_support_pydantic_schemas_of_openai_package() -> None:
    form = strict(to_strict_json_schema(Solution))
    assert form["properties"]["steps"]["items"] == {"$ref": "#/$defs/Step"}
    assert form["$defs"]["Step"]["additionalProperties"] is False


@given(st.dictionaries(st.sampled_from(["type", "anyOf", "items", "properties", "enum", "$ref", "format"]), JSON))
def test_raise_only_no_strict_form_error(schema: dict[str, Any]) -> None:
    with contextlib.suppress(NoStrictFormError):
        assert isinstance(strict(schema), dict)
