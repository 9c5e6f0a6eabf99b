"""Equality of two answers, apart from what is different in each request."""

from typing import Any

from tests.differential.pair import Both, Side

_OWN_IDS = ("msg_", "toolu_", "resp_", "chatcmpl-", "rs_", "fc_", "call_", "item_", "req_")
_TIMES = frozenset({"created", "created_at", "completed_at"})


def answer_of(side: Side) -> Any:
    """Status and events or body, without ids, times and pings."""
    if side.is_stream:
        return side.status, [without_ids(event) for event in side.events if event.get("type") != "ping"]
    return side.status, without_ids(side.json)


def assert_same_answer(both: Both) -> None:
    """The client got the same."""
    assert answer_of(both.sdk) == answer_of(both.http)


def without_ids(value: Any) -> Any:
    """The value without the ids and times that each answer makes anew."""
    if isinstance(value, dict):
        return {name: without_ids(inner) for name, inner in value.items() if name not in _TIMES}
    if isinstance(value, list):
        return [without_ids(inner) for inner in value]
    if isinstance(value, str) and value.startswith(_OWN_IDS):
        return next(prefix for prefix in _OWN_IDS if value.startswith(prefix))
    return value
