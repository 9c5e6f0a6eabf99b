"""Table of API endpoints that this gateway does not have. Pure: the settings import it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from apiproxy.core.turns import DialectName
from apiproxy.core.upstream_headers import VERSION_HEADER


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """An endpoint, with all paths below it.

    path: without `/v1`. dialect: None if both APIs have it. hint: for the client.
    """

    path: str
    dialect: DialectName | None
    hint: str

    def dialect_of(self, headers: Mapping[str, str]) -> DialectName:
        """The API that the client speaks: Anthropic's clients send their version with every request."""
        return self.dialect or ("anthropic" if VERSION_HEADER in headers else "openai")


_INLINE = "send the content in the request itself"
_ITEMS = "send the whole conversation as `input`, or use `previous_response_id`"
_NO_MODEL = "no Claude model supports it"
_AGENTS = "it belongs to Claude Managed Agents, which run at Anthropic"

UNBUILT = (
    Unbuilt("/messages/batches", "anthropic", "send the requests one by one to /v1/messages"),
    Unbuilt("/files", None, _INLINE),
    Unbuilt("/skills", None, "put the instructions into the request"),
    Unbuilt("/complete", "anthropic", "use /v1/messages"),
    Unbuilt("/organizations", "anthropic", "the operator's organization is not administered through the gateway"),
    Unbuilt("/user_profiles", "anthropic", "they belong to the operator's account, not to the gateway's keys"),
    Unbuilt("/agents", "anthropic", _AGENTS),
    Unbuilt("/environments", "anthropic", _AGENTS),
    Unbuilt("/vaults", "anthropic", _AGENTS),
    Unbuilt("/memory_stores", "anthropic", _AGENTS),
    Unbuilt("/completions", "openai", "use /v1/chat/completions"),
    Unbuilt("/embeddings", "openai", _NO_MODEL),
    Unbuilt("/conversations", "openai", _ITEMS),
    Unbuilt("/assistants", "openai", "use /v1/responses"),
    Unbuilt("/threads", "openai", "use /v1/responses"),
    Unbuilt("/batches", "openai", "send the requests one by one"),
    Unbuilt("/uploads", "openai", _INLINE),
    Unbuilt("/vector_stores", "openai", _INLINE),
    Unbuilt("/containers", "openai", _INLINE),
    Unbuilt("/images", "openai", _NO_MODEL),
    Unbuilt("/videos", "openai", _NO_MODEL),
    Unbuilt("/audio", "openai", _NO_MODEL),
    Unbuilt("/realtime", "openai", _NO_MODEL),
    Unbuilt("/moderations", "openai", _NO_MODEL),
    Unbuilt("/fine_tuning", "openai", _NO_MODEL),
    Unbuilt("/evals", "openai", "use /v1/chat/completions"),
    Unbuilt("/alpha/search", "openai", "declare the tool `web_search` instead"),
)
"""Sources: the resources of `anthropic` 2.12 and `openai` 3.54; Codex (`/alpha/search`)."""

_BY_PATH = {unbuilt.path: unbuilt for unbuilt in UNBUILT}
_NAMES = "|".join(re.escape(path[1:]) for path in _BY_PATH)
_ANYTHING_BELOW = r"(?:/.*)?"
_PATTERN = re.compile(rf"/(?:v1/)?({_NAMES}){_ANYTHING_BELOW}", re.DOTALL)


class UnbuiltConverter:
    """Path converter that matches exactly the paths of these endpoints."""

    regex = rf"(?:v1/)?(?:{_NAMES}){_ANYTHING_BELOW}"

    def to_python(self, value: str) -> Unbuilt:
        """The endpoint of a matching path."""
        found = find_unbuilt(f"/{value}")
        assert found is not None
        return found

    def to_url(self, value: Unbuilt) -> str:
        """The endpoint's path."""
        return f"v1{value.path}"


def find_unbuilt(path: str) -> Unbuilt | None:
    """The endpoint of a path, with or without `/v1`."""
    found = _PATTERN.fullmatch(path)
    return None if found is None else _BY_PATH[f"/{found[1]}"]
