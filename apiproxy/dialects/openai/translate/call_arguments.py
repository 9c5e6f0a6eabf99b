"""Arguments of tool calls in a history, as the input of a `tool_use` block."""

from typing import Any

from apiproxy.core.json_values import ValueBudget
from apiproxy.core.message import INVALID_JSON
from apiproxy.dialects.openai.translate.ignored import IgnoredFields


def call_arguments(
    given: str | dict[str, Any] | None, field: str, *, values: ValueBudget, ignored: IgnoredFields
) -> dict[str, Any]:
    """Arguments as an object; blank text and null mean none.

    Text that is no object, such as that of a call that was cut off, goes in the API's own form for it. values: budget
    shared by all calls. field: path of the arguments.
    """
    if isinstance(given, dict):
        return given
    if not given or given.isspace():
        return {}
    value = _read(given, values)
    if isinstance(value, str):  # some clients encode twice
        value = _read(value, values)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    ignored.add(field, f"not a JSON object: sent as {INVALID_JSON}")
    return {INVALID_JSON: given}


def _read(text: str, values: ValueBudget) -> object:
    """The value; False if the text is not JSON."""
    try:
        return values.loads(text)
    except ValueError:
        return False
