"""Field types of the request models. Lists are validated item by item up to the first error, and not kept as models."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, FailFast, Field, TypeAdapter

from apiproxy.core.turns import MOST_MAX_TOKENS

_ItemT = TypeVar("_ItemT")

MaxTokens = Annotated[int, Field(ge=1, le=MOST_MAX_TOKENS)]


class _FirstError(FailFast):
    """pydantic's `FailFast`, fit for a union's member: typing hashes those."""

    __hash__ = object.__hash__


FIRST_ERROR = _FirstError()
"""Ends a list's validation with its first error: all errors of a large list take hundreds of times its size."""


def _unchanged(item: _ItemT) -> _ItemT:
    return item


Each = Annotated[list[Annotated[_ItemT, AfterValidator(_unchanged)]], FIRST_ERROR]
"""A list whose validation lets other threads run between two items: without a call into Python, pydantic keeps the
interpreter's lock until it has seen them all."""


def checked(adapter: TypeAdapter[Any]) -> AfterValidator:
    """For items that are only checked, and made into models again one by one when they are needed.

    All of a body's messages take 30 times its size as models.
    """

    def check(item: object) -> object:
        adapter.validate_python(item)
        return item

    return AfterValidator(check)
