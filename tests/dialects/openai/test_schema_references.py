"""References, `allOf` and patterns in schemas."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, RootModel

from apiproxy.dialects.openai.translate.json_schema import NoStrictFormError, StrictBudget, strict_form
from apiproxy.dialects.openai.translate.patterns import is_supported_pattern
from apiproxy.dialects.openai.translate.schema_references import object_root
from tests.dialects.openai.support import chat, function

STRING, NUMBER = {"type": "string"}, {"type": "number"}
A = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
B = {"type": "object", "properties": {"b": NUMBER}, "required": ["b"]}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    return strict_form(schema, StrictBudget())


def of(part: dict[str, Any], **definitions: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": part}, "required": ["x"], "$defs": definitions}


@pytest.mark.parametrize("around", [{}, {"description": "d"}, {"title": "t", "default": None}])
def test_read_lone_all_of_as_its_member(around: dict[str, Any]) -> None:
    assert strict(of({"allOf": [{"$ref": "#/$defs/A"}], **around}, A=A))["properties"]["x"] == {"$ref": "#/$defs/A"}
    assert strict(of({"allOf": [STRING], **around}))["properties"]["x"] == {**STRING, **around}


@pytest.mark.parametrize(
    "part",
    [
        {"allOf": [A, B]},
        {"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]},
        {"allOf": [{"$ref": "#/$defs/A"}], **B},
        {"allOf": [{"allOf": [A]}, {"allOf": [B]}]},
        {"allOf": [{**A, "additionalProperties": False}, {**B, "additionalProperties": True}]},
    ],
)
def test_merge_members_of_all_of(part: dict[str, Any]) -> None:
    merged = strict(of(part, A=A, B=B))["properties"]["x"]
    assert merged["properties"] == {"a": STRING, "b": NUMBER}
    assert sorted(merged["required"]) == ["a", "b"]
    assert merged["additionalProperties"] is False


def test_merge_constraints_of_one_property() -> None:
    member = {"type": "object", "properties": {"a": {"maxLength": 3}}}
    merged = strict(of({"allOf": [A, member]}))["properties"]["x"]["properties"]
    assert merged == {"a": {"type": "string", "description": "{maxLength: 3}"}}


@pytest.mark.parametrize(
    "part", [{"allOf": [STRING, NUMBER]}, {"allOf": "A"}, {"allOf": [1]}, {"allOf": [{"$ref": "#/$defs/C"}, A]}]
)
def test_give_up_on_schemas_that_contradict(part: dict[str, Any]) -> None:
    with pytest.raises(NoStrictFormError):
        strict(of(part))


@pytest.mark.parametrize("reference", ["#/$defs/C", "#/$defs/a/b", "#/properties/x", "#", "x", 5, "#/$defs/"])
def test_give_up_on_references_to_elsewhere(reference: object) -> None:
    with pytest.raises(NoStrictFormError, match="other than its own definitions"):
        strict(of({"$ref": reference}, A=A))


def test_find_escaped_names_of_definitions() -> None:
    names = {"List[A/B]": A, "c~d": B}
    assert strict(of({"$ref": "#/$defs/List%5BA~1B%5D"}, **names))
    assert strict(of({"$ref": "#/$defs/c~0d"}, **names))
    with pytest.raises(NoStrictFormError, match="recursive"):
        strict(of({"$ref": "#/$defs/c~0d"}, **{"c~d": {"type": "array", "items": {"$ref": "#/$defs/c~0d"}}}))


def test_move_words_beside_a_reference_to_the_object() -> None:
    form = strict(of({"$ref": "#/$defs/A", "description": "the first", "default": {}, "minProperties": 1}, A=A))
    assert form["properties"]["x"] == {"$ref": "#/$defs/A"}
    assert form["description"] == "{x: the first, minProperties: 1}"


def test_name_constraints_that_are_only_described() -> None:
    unenforced: dict[str, None] = {}
    schema = of({"$ref": "#/$defs/A", "minProperties": 1}, A=A) | {"x-order": 3, "maxProperties": 9}
    strict_form(schema, StrictBudget(), unenforced)
    assert list(unenforced) == ["minProperties", "maxProperties"] or set(unenforced) == {
        "minProperties",
        "maxProperties",
    }


def test_limit_work_on_definitions_used_in_each_other() -> None:
    names = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(60)}
    with pytest.raises(NoStrictFormError):
        strict(of({"allOf": [{"$ref": "#/$defs/d0"}, A]}, **names, d60={"allOf": [A, B], "items": {}}))


@pytest.mark.parametrize(
    ("pattern", "supported"),
    [
        ("^[a-z]+$", True), (r"^\d{4}-\d{2}$", True), ("(?:a|b)*", True), (r"\\1", True), (r"\{99999\}", True),
        ("^[0-9a-f]{64}$", True), (r"(a)\1", False), (r"\k<a>", False), ("(?=a)", False), ("(?<!a)", False),
        ("(?P<n>a)", False), ("(?i)a", False), (r"\bword\b", False), (r"\p{L}", False), ("a{1,5000}", False),
        ("a{101}", False), ("((a{100}){100}){2}", False), ("a" * 2_000, False), (5, False), ("a{3,}", True),
    ],
)  # fmt: skip
def test_know_patterns_that_the_api_takes(pattern: object, supported: bool) -> None:
    assert is_supported_pattern(pattern) is supported


class Color(BaseModel):
    kind: Literal["r", "g"] = "r"


class Node(BaseModel):
    name: str = Field(pattern="^[a-z]+$")
    color: Color = Field(default=Color(), description="the color")
    kids: list["Node"] = []


class Flat(BaseModel):
    color: Color = Field(description="the color")
    size: int = Field(ge=1)


@pytest.mark.parametrize("model", [RootModel[Flat], Flat, RootModel[list[Flat]]])
def test_convert_schemas_that_pydantic_generates(model: type[BaseModel]) -> None:
    assert strict(model.model_json_schema())


def test_resolve_the_root_of_a_recursive_model() -> None:
    schema = RootModel[Node].model_json_schema()
    root, given_up = object_root(schema)
    assert root["properties"] == schema["$defs"]["Node"]["properties"]
    assert root["$defs"] == schema["$defs"]
    assert given_up is None


def test_declare_union_at_the_root_as_one_object() -> None:
    schema = {"anyOf": [A, {"$ref": "#/$defs/B"}], "$defs": {"B": {**B, "required": []}}, "description": "d"}
    translated = chat({"tools": [function("f", schema)]})
    assert translated.body["tools"][0]["input_schema"] == {
        "type": "object",
        "description": "d",
        "properties": {"a": STRING, "b": NUMBER},
        "required": [],
        "$defs": schema["$defs"],
    }
    assert translated.ignored == ("tools.0.function.parameters.anyOf (not enforced)",)


@pytest.mark.parametrize("schema", [{"anyOf": [STRING, A]}, {"$ref": "#/$defs/N"}, {"allOf": [A, STRING]}])
def test_leave_roots_that_are_no_object_to_the_upstream(schema: dict[str, Any]) -> None:
    assert object_root(schema) == (schema, None)
