"""Sampling parameters, stop sequences, service tier and user id."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.dialects.openai.chat.schemas import Sampled
from apiproxy.dialects.openai.translate.capabilities import Capabilities, Sampling
from apiproxy.dialects.openai.translate.content import is_blank
from apiproxy.dialects.openai.translate.ignored import IgnoredFields
from apiproxy.dialects.openai.translate.reasoning import ReasoningPlan

MAX_TEMPERATURE = 1.0
MIN_TOP_P_WITH_THINKING = 0.95

_OPAQUE = re.compile(r"(?![\d.-]{7,20}\Z)[A-Za-z0-9_.:-]{1,256}")
"""User ids that the API accepts: no addresses, telephone numbers or names, and at most 256 characters."""
_SERVICE_TIERS: Mapping[str, str] = {"auto": "auto", "default": "standard_only", "priority": "auto", "scale": "auto"}


def sampling_fields(
    request: Sampled, *, capable: Capabilities, reasoning: ReasoningPlan, ignored: IgnoredFields
) -> dict[str, Any]:
    """`temperature`, `top_p` and `top_k` for the body.

    Dropping the default 1 of the first two is not reported.
    """
    wanted: dict[str, Any] = {}
    if request.temperature is not None:
        if request.temperature > MAX_TEMPERATURE:
            ignored.add("temperature", "clipped to 1")
        wanted["temperature"] = min(request.temperature, MAX_TEMPERATURE)
    if request.top_p is not None and not (request.top_p == 1 and wanted):
        wanted["top_p"] = request.top_p
    if request.top_k is not None:
        wanted["top_k"] = request.top_k
    if capable.sampling is Sampling.ONE and "top_p" in wanted and wanted.get("temperature") == 1:
        del wanted["temperature"]
    fields: dict[str, Any] = {}
    for name, value in wanted.items():
        reason = _unsupported_reason(name, value, fields, capable, reasoning)
        if reason is None:
            fields[name] = value
        elif value != 1 or name == "top_k":
            ignored.add(name, reason)
    return fields


def _unsupported_reason(
    name: str, value: float, fields: Mapping[str, Any], capable: Capabilities, reasoning: ReasoningPlan
) -> str | None:
    """Reason why the model would reject the parameter together with `fields`, or None."""
    if capable.sampling is Sampling.NONE:
        return "this model takes no sampling parameters"
    if reasoning.active and not (name == "top_p" and value >= MIN_TOP_P_WITH_THINKING):
        return "not while thinking"
    if name == "top_p" and "temperature" in fields and capable.sampling is Sampling.ONE:
        return "this model takes temperature or top_p"
    return None


def stop_sequences(stop: str | Sequence[str] | None, ignored: IgnoredFields) -> list[str]:
    """Stop sequences, without those of white space only, which the API rejects."""
    wanted = [stop] if isinstance(stop, str) else list(stop or ())
    taken = [sequence for sequence in wanted if not is_blank(sequence)]
    if any(sequence for sequence in wanted if is_blank(sequence)):
        ignored.add("stop", "white space sequences are dropped")
    return taken


def service_tier(tier: str | None, ignored: IgnoredFields) -> dict[str, Any]:
    """`service_tier` for the body, if there is an equivalent."""
    if tier is None:
        return {}
    if tier not in _SERVICE_TIERS:
        ignored.add("service_tier")
        return {}
    return {"service_tier": _SERVICE_TIERS[tier]}


def user_metadata(request: Sampled, ignored: IgnoredFields) -> dict[str, Any]:
    """`metadata.user_id` for the body, the only equivalent of OpenAI's metadata.

    Others than plainly opaque ids, some of which the API rejects, are replaced by a digest.
    """
    given = request.metadata or {}
    user = request.user or request.safety_identifier
    if user is None and isinstance(given.get("user_id"), str):
        user = given["user_id"]
    if given.keys() - {"user_id"}:
        ignored.add("metadata")
    if not user:
        return {}
    if not _OPAQUE.fullmatch(user):
        user = "user_" + hashlib.sha256(user.encode()).hexdigest()[:32]
    return {"metadata": {"user_id": user}}
