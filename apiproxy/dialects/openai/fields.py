"""Field types and base classes shared by the request models.

Lists are validated item by item up to the first error.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, TypeAdapter

from apiproxy.core.turns import MAX_TOKENS_LIMIT

_ItemT = TypeVar("_ItemT")

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ToolMode = Literal["none", "auto", "required"]
MAX_TOOL_NAME_CHARS = 256
"""Limit of names that are made shorter for the upstream."""
MaxTokens = Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)]


class _FirstError(FailFast):
    """Hashable `FailFast`: typing hashes the members of a union."""

    __hash__ = object.__hash__


FIRST_ERROR = _FirstError()
"""Stops a list's validation at its first error; all errors of a large list take hundreds of times its size."""


def _unchanged(item: _ItemT) -> _ItemT:
    return item


Each = Annotated[list[Annotated[_ItemT, AfterValidator(_unchanged)]], FIRST_ERROR]
"""List whose validation calls into Python for each item, else pydantic would hold the GIL for the whole list."""


def checked(adapter: TypeAdapter[Any]) -> AfterValidator:
    """Validator that checks items against a model but keeps them as dicts.

    A model takes 30 times the memory.
    Callers validate again, one item at a time, when they need a model.
    """

    def check(item: object) -> object:
        adapter.validate_python(item)
        return item

    return AfterValidator(check)


class Accepted(BaseModel):
    """Base model: no type coercion, unknown fields are accepted."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


class Cacheable(Accepted):
    """Part that may end a cached prefix, in OpenAI's or Anthropic's notation."""

    cache_control: dict[str, Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None
