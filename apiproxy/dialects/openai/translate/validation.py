"""Validation of request bodies, with errors that name the fields of the body."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from apiproxy.dialects.openai.fields import Accepted
from apiproxy.dialects.openai.translate.ignored import invalid_field

RequestT = TypeVar("RequestT", bound=Accepted)


def read(model: type[RequestT], body: object, *, within: str = "") -> RequestT:
    """Validate a body or a part of it. within: path of the part.

    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    if not isinstance(body, dict):
        raise invalid_field(within or "body", "must be a JSON object")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        field, message = _deepest_error(body, error)
        raise invalid_field(f"{within}.{field}" if within else field, message) from None


def _deepest_error(body: Mapping[str, Any], error: ValidationError) -> tuple[str, str]:
    """Field and message of the deepest error: the intended branch of a union."""
    problems = [
        (
            _field_path(body, item["loc"], item["type"], ctx := item.get("ctx", {})),
            _message(item["type"], item["msg"], ctx),
        )
        for item in error.errors(include_url=False, include_input=False)
    ]
    field = max(problems, key=lambda problem: problem[0].count("."))[0]
    return field, "; or ".join(dict.fromkeys(message for where, message in problems if where == field))


def _message(kind: str, message: str, ctx: Mapping[str, Any]) -> str:
    if kind == "union_tag_invalid":
        return f"must be one of {ctx['expected_tags']}"
    return "Field required" if kind == "union_tag_not_found" else message


def _field_path(body: Mapping[str, Any], loc: Sequence[int | str], kind: str, ctx: Mapping[str, Any]) -> str:
    """Path in the body; pydantic's includes the names of union branches."""
    path: list[str] = []
    here: Any = body
    for step in loc:
        if (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            here = here[cast(Any, step)]
            path.append(str(step))
    if kind == "missing":
        path.append(str(loc[-1]))
    elif kind.startswith("union_tag"):
        discriminator = str(ctx["discriminator"]).strip("'")
        path.append("type" if discriminator.endswith("()") else discriminator)
    return ".".join(path) or "body"
