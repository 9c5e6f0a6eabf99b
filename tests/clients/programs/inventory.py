"""Prints, as JSON, the names in the types of the installed packages `anthropic` and `openai`.

Blocks, events, deltas, items and tools by their `type` (or `role`), request fields, betas and closed lists of values.
"""

import functools
import importlib
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

_TAGS = ("type", "role", "object")
_WHERE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "anthropic": {
        "content blocks": ("types:ContentBlock", "types.beta:BetaContentBlock"),
        "blocks of requests": ("types:ContentBlockParam", "types.beta:BetaContentBlockParam"),
        "deltas": ("types:RawContentBlockDelta", "types.beta:BetaRawContentBlockDelta"),
        "events": ("types:RawMessageStreamEvent", "types.beta:BetaRawMessageStreamEvent"),
        "tools": ("types:ToolUnionParam", "types.beta:BetaToolUnionParam"),
        "tool choices": ("types:ToolChoiceParam", "types.beta:BetaToolChoiceParam"),
        "stop reasons": ("types:StopReason", "types.beta:BetaStopReason"),
        "errors": ("types.shared:ErrorObject", "types:ErrorObject"),
        "betas": ("types:AnthropicBetaParam",),
    },
    "openai": {
        "chat content parts": ("types.chat:ChatCompletionContentPartParam",),
        "chat messages": ("types.chat:ChatCompletionMessageParam",),
        "chat tools": ("types.chat:ChatCompletionToolUnionParam",),
        "response events": ("types.responses:ResponseStreamEvent",),
        "input items": ("types.responses:ResponseInputItemParam",),
        "output items": ("types.responses:ResponseOutputItem",),
        "response tools": ("types.responses:ToolParam",),
        "response tool choices": ("types.responses.response_create_params:ToolChoice",),
        "response includes": ("types.responses:ResponseIncludable",),
        "reasoning efforts": ("types:ReasoningEffort",),
    },
}
"""Unions and literals."""
_FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "anthropic": {
        "request fields": (
            "types.message_create_params:MessageCreateParamsBase",
            "types.beta.message_create_params:MessageCreateParamsBase",
        ),
        "fields of count_tokens": (
            "types.message_count_tokens_params:MessageCountTokensParams",
            "types.beta.message_count_tokens_params:MessageCountTokensParams",
        ),
        "fields of a message": ("types:Message", "types.beta:BetaMessage"),
        "fields of usage": ("types:Usage", "types.beta:BetaUsage"),
    },
    "openai": {
        "chat request fields": ("types.chat.completion_create_params:CompletionCreateParamsBase",),
        "chat fields of a message": ("types.chat:ChatCompletionMessage",),
        "response request fields": ("types.responses.response_create_params:ResponseCreateParamsBase",),
        "fields of a response": ("types.responses:Response",),
    },
}
"""Classes, each of whose fields is a name."""


def inventory() -> dict[str, dict[str, list[str]]]:
    """Sorted names by package and kind. A kind that the package does not have is empty."""
    found: dict[str, dict[str, list[str]]] = {}
    for package, kinds in _WHERE.items():
        found[package] = {kind: _sorted(package, places, _names) for kind, places in kinds.items()}
        found[package] |= {kind: _sorted(package, places, _fields) for kind, places in _FIELDS[package].items()}
    return found


def _sorted(package: str, places: tuple[str, ...], names: Any) -> list[str]:
    return sorted({name for place in places for name in names(_at(package, place))})


def _at(package: str, place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(f"{package}.{module}"), name, None)
    except ModuleNotFoundError:
        return None


def _names(given: Any) -> Iterator[str]:
    """The discriminators of a union's members, and the values of literals."""
    origin = typing.get_origin(given)
    if origin is typing.Literal:
        yield from (str(value) for value in typing.get_args(given) if value is not None)
    elif origin in {typing.Union, types.UnionType, typing.Annotated}:
        for member in typing.get_args(given)[: 1 if origin is typing.Annotated else None]:
            yield from _names(member)
    elif isinstance(given, type):
        hints = _hints(given)
        tag = next((tag for tag in _TAGS if tag in hints), None)
        literal = None if tag is None else _unwrapped(hints[tag])
        if typing.get_origin(literal) is typing.Literal:
            yield from (str(value) for value in typing.get_args(literal))


def _unwrapped(hint: Any) -> Any:
    """Without Required, Optional and the like."""
    while typing.get_origin(hint) is not typing.Literal and typing.get_args(hint):
        hint = typing.get_args(hint)[0]
    return hint


def _fields(given: Any) -> Iterator[str]:
    yield from _hints(given) if given is not None else ()


@functools.cache
def _hints(given: type) -> Mapping[str, Any]:
    if hasattr(given, "model_fields"):
        return {field.alias or name: field.annotation for name, field in given.model_fields.items()}
    return typing.get_type_hints(given, include_extras=True)


if __name__ == "__main__":
    json.dump(inventory(), sys.stdout)
