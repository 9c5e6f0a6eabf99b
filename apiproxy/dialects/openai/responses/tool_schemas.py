"""Models of tools and `tool_choice` of POST /v1/responses."""

from typing import Any, Literal

from apiproxy.dialects.openai.fields import Accepted, Each


class ResponsesFunction(Accepted):
    """Function that the model may call."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(Accepted):
    """Choice that forces one function."""

    type: Literal["function"]
    name: str


class AllowedFunctions(Accepted):
    """Choice limited to a subset of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Each[dict[str, Any]]
