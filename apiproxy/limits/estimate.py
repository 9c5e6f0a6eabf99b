"""The most that a request may use, before anything is known but its body. Pure; it walks the body once."""

from collections.abc import Mapping
from typing import Any

from apiproxy.catalog import CatalogModel, ResolvedModel
from apiproxy.events import Usage
from apiproxy.limits.values import MICRO, KeyLimits

_BYTES_PER_TOKEN = 2
"""English text has about four, code and other languages about three; hardly any text has fewer than two."""
_BLOCK_TOKENS = 4
_OWN_TOKENS = 64
"""What stands in a prompt beside the client's blocks: the identity line of the SDK."""
_TOOLS_TOKENS = 700
"""The API's own words about tools, at most. Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use"""
_IMAGE_TOKENS = 5_000
"""The largest image. Source: https://platform.claude.com/docs/en/build-with-claude/vision (4,784 for new models)."""
_UNSEEN_DOCUMENT_TOKENS = 20_000
"""A document that the request only points to."""


def input_tokens(body: Mapping[str, Any], *, context_window: int | None = None) -> int:
    """About how many input tokens the body may have at most; never more than the model can read."""
    total = _OWN_TOKENS + (_TOOLS_TOKENS if body.get("tools") else 0)
    waiting: list[Any] = [body.get(name) for name in ("system", "tools", "messages", "mcp_servers", "output_config")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            total += _text_tokens(part)
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, Mapping):
            total += _BLOCK_TOKENS
            if part.get("type") == "image":
                total += _IMAGE_TOKENS
                continue
            total += _UNSEEN_DOCUMENT_TOKENS if part.get("type") in ("url", "file") else 0
            waiting.extend(part.keys())
            waiting.extend(part.values())
        elif part is not None:
            total += 1
    return total if context_window is None else min(total, context_window)


def most_used(body: Mapping[str, Any], model: ResolvedModel) -> tuple[int, int | None]:
    """Tokens, and what they cost in millionths of a dollar (None: no price), if the model says as much as it may.

    The input is priced as written to the cache, which is what costs most.
    """
    window = model.context_window if isinstance(model, CatalogModel) else None
    asked = input_tokens(body, context_window=window)
    output = body.get("max_tokens")
    answered = output if isinstance(output, int) and output > 0 else model.max_output_tokens
    if model.prices is None:
        return asked + answered, None
    dearest = model.prices.cost(Usage(cache_creation_input_tokens=asked, output_tokens=answered))
    plain = model.prices.cost(Usage(input_tokens=asked, output_tokens=answered))
    return asked + answered, int(max(dearest, plain) * MICRO) + 1


def default_max_tokens(limits: KeyLimits, model: ResolvedModel) -> int:
    """What a request gets that leaves `max_tokens` out: all the model has, or half of what its key may use in a minute.

    Otherwise a key with a low limit could send no such request at all.
    """
    if limits.tokens_per_minute is None:
        return model.max_output_tokens
    return max(1, min(model.max_output_tokens, limits.tokens_per_minute // 2))


def _text_tokens(text: str) -> int:
    if not text:
        return 0
    length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-length // _BYTES_PER_TOKEN)
