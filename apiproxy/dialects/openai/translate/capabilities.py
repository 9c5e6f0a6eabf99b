"""Messages API features that a Claude model supports, derived from its id.

Clients of the OpenAI API do not know these differences: a `temperature` or a forced tool is a 400 on some models.
Source: the Claude platform's model pages, migration guides and pages on thinking, effort and structured outputs, as of
autumn 2026. Supports ids of the API, Bedrock and Vertex. An unknown id (such as a Foundry deployment) counts as a
current model with sampling parameters; the upstream then decides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

_FAMILY_FIRST = re.compile(r"claude-([a-z]+)(?:-(\d+)(?:[-.](\d{1,2}))?(?![\d.]))?")
_VERSION_FIRST = re.compile(r"claude-(\d+)(?:[-.](\d{1,2}))?-([a-z]+)")
_NEW_FAMILIES = frozenset({"fable", "mythos"})
_NEVER = (10_000, 0)

_BASIC_EFFORTS = frozenset({"low", "medium", "high"})
_MAX_EFFORTS = _BASIC_EFFORTS | {"max"}
_ALL_EFFORTS = _MAX_EFFORTS | {"xhigh"}

Version = tuple[int, int]


class Thinking(StrEnum):
    """Ways to request thinking: none, by token budget, or by effort."""

    NONE = "none"
    BUDGET = "budget"
    ADAPTIVE = "adaptive"


class Sampling(StrEnum):
    """Number of `temperature` and `top_p` that a request may contain."""

    BOTH = "both"
    ONE = "one"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Features of one model.

    thinks_by_default: thinks without a `thinking` field. thinking_off: value of `thinking` that turns it off; None if
    none does. efforts: supported values of `output_config.effort`. forced_tools: `tool_choice` may be `any` or `tool`;
    forced_while_thinking: even with thinking. prefill: continues an assistant message at the end. structured_outputs:
    supports `output_config.format` and strict tools.
    """

    thinking: Thinking
    thinks_by_default: bool
    thinking_off: Mapping[str, str] | None
    efforts: frozenset[str]
    sampling: Sampling
    forced_tools: bool
    forced_while_thinking: bool
    prefill: bool
    structured_outputs: bool


_UNKNOWN = Capabilities(
    thinking=Thinking.ADAPTIVE,
    thinks_by_default=True,
    thinking_off={"type": "disabled"},
    efforts=_ALL_EFFORTS,
    sampling=Sampling.BOTH,
    forced_tools=True,
    forced_while_thinking=True,
    prefill=False,
    structured_outputs=True,
)


@lru_cache(maxsize=256)
def capabilities(model: str) -> Capabilities:
    """Features of the model with this id (aliases resolved); never raises."""
    found = _family_and_version(model.lower())
    if found is None:
        return _UNKNOWN
    family, version = found
    by_default = version >= (5, 0)
    return Capabilities(
        thinking=_thinking(version),
        thinks_by_default=by_default,
        thinking_off=_thinking_off(family, version) if by_default else {"type": "disabled"},
        efforts=_efforts(family, version),
        sampling=_sampling(family, version),
        forced_tools=version < _FORCED_TOOLS_UNTIL.get(family, _NEVER),
        forced_while_thinking=by_default,
        prefill=version < (4, 6),
        structured_outputs=version >= (4, 5),
    )


def _family_and_version(model: str) -> tuple[str, Version] | None:
    if match := _VERSION_FIRST.search(model):  # claude-3-7-sonnet-20250219
        return match[3], (int(match[1]), int(match[2] or 0))
    if match := _FAMILY_FIRST.search(model):  # claude-sonnet-4-5-20250929, claude-opus-4@20250514
        if match[2] is None:  # claude-mythos-preview
            return (match[1], (5, 0)) if match[1] in _NEW_FAMILIES else None
        return match[1], (int(match[2]), int(match[3] or 0))
    return None


def _thinking(version: Version) -> Thinking:
    if version >= (4, 6):
        return Thinking.ADAPTIVE
    return Thinking.BUDGET if version >= (3, 7) else Thinking.NONE


def _thinking_off(family: str, version: Version) -> Mapping[str, str] | None:
    if family in _NEW_FAMILIES or (family == "opus" and version >= (5, 5)):
        return None
    if family == "sonnet" and version >= (5, 5):
        return {"type": "between_tools"}
    return {"type": "disabled"}


def _efforts(family: str, version: Version) -> frozenset[str]:
    if version >= (4, 7):
        return _ALL_EFFORTS
    if version == (4, 6):
        return _MAX_EFFORTS
    return _BASIC_EFFORTS if (family, version) == ("opus", (4, 5)) else frozenset()


def _sampling(family: str, version: Version) -> Sampling:
    if version >= (5, 0) or (family == "opus" and version >= (4, 7)):
        return Sampling.NONE
    return Sampling.ONE if version >= (4, 1) else Sampling.BOTH


# From this version on, models of the family return 400 for `tool_choice: any` and `tool`. Models of other families are
# assumed to accept them, as Claude Haiku 5.5 does.
_FORCED_TOOLS_UNTIL: Mapping[str, Version] = {
    "opus": (5, 5),
    "sonnet": (5, 5),
    "fable": (5, 1),
    "mythos": (5, 1),
}
