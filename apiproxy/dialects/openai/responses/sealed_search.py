"""Web searches with their results as `encrypted_content`, opaque to clients.

A `web_search_call` item holds no results, but the upstream needs them in the next request, unchanged. Without them it
has to search again, and it may reject thinking that followed them.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.core.json_values import ValueBudget
from apiproxy.dialects.openai.translate.server_tools import SEARCH_NAME

_MARKER = "search-1."
_ID = re.compile(r"srvtoolu_[a-zA-Z0-9_]{1,100}")


def seal_search(call: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Encode a search and its result."""
    return _MARKER + base64.urlsafe_b64encode(dumps([call, result])).decode()


def is_sealed_search(content: str) -> bool:
    """True if `seal_search` made the text."""
    return content.startswith(_MARKER)


def open_search(content: str, values: ValueBudget) -> list[dict[str, Any]] | None:
    """The two blocks; None if the text is damaged. values: budget of the whole request."""
    try:
        read = values.loads(base64.urlsafe_b64decode(content.removeprefix(_MARKER)))
    except (binascii.Error, ValueError):
        return None
    match read:
        case [
            {"type": "server_tool_use", "id": str(call_id), "name": name, "input": dict(given)},
            {"type": "web_search_tool_result", "tool_use_id": result_id, "content": list() | dict() as found},
        ] if name == SEARCH_NAME and call_id == result_id and _ID.fullmatch(call_id):
            return [
                {"type": "server_tool_use", "id": call_id, "name": name, "input": given},
                {"type": "web_search_tool_result", "tool_use_id": call_id, "content": found},
            ]
    return None
