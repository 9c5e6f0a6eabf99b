"""OpenAI's web search options as the Messages API's web search tool."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from apiproxy.dialects.openai.fields import Accepted, Each
from apiproxy.dialects.openai.translate.ignored import IgnoredFields
from apiproxy.dialects.openai.translate.server_tools import SEARCH_NAME, SEARCH_VERSIONS, ServerTools

MAX_USES: Mapping[str, int] = {"low": 3, "medium": 6, "high": 9}
"""Searches per request by `search_context_size`. The upstream pauses an answer after ten rounds of server tools; with
fewer searches it ends, and its fee is bounded."""
_DEFAULT_SIZE = "medium"
_TYPE = re.compile(r"web_search(?:_preview)?(?:_\d{4}_\d{2}_\d{2})?")
_LOCATION_FIELDS = ("city", "region", "country", "timezone")


class SearchFilters(Accepted):
    """Domains to search, and not to search."""

    allowed_domains: Each[str] | None = None
    blocked_domains: Each[str] | None = None


class Location(Accepted):
    """Approximate location of the user. country: ISO code of two letters. timezone: IANA name."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


class SearchOptions(Accepted):
    """Options of either API. external_web_access: False for a search in the provider's own cache."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: Location | None = None
    filters: SearchFilters | None = None
    external_web_access: bool | None = None
    search_content_types: Each[str] | None = None


def is_search_tool(kind: object) -> bool:
    """True for OpenAI's types of web search tools."""
    return isinstance(kind, str) and _TYPE.fullmatch(kind) is not None


def add_search(
    tools: ServerTools,
    options: SearchOptions,
    *,
    field: str,
    forced: bool,
    ignored: IgnoredFields,
    max_calls: int | None = None,
) -> None:
    """Add the web search tool, or report why it is left out.

    field: path of the options. forced: the request requires a search, so that policy decides instead. max_calls: limit
    of the request.
    """
    if tools.search is not None:
        ignored.add(field, "one web search tool is enough")
        return
    missing = _missing(tools, options, forced=forced, max_calls=max_calls)
    if missing:
        ignored.add(field, f"web search: {missing}")
        return
    if options.search_content_types not in (None, ["text"]):
        ignored.add(f"{field}.search_content_types", "text only")
    uses = MAX_USES[options.search_context_size or _DEFAULT_SIZE]
    tool: dict[str, Any] = {
        "type": tools.offer.search,
        "name": SEARCH_NAME,
        "max_uses": uses if max_calls is None else min(uses, max_calls),
    }
    if tools.offer.search != SEARCH_VERSIONS[0]:
        tool["allowed_callers"] = ["direct"]
    tools.search = tool | _location(options.user_location) | _domains(options.filters, field, ignored)


def _missing(tools: ServerTools, options: SearchOptions, *, forced: bool, max_calls: int | None) -> str:
    """Reason to leave the tool out; empty if there is none."""
    if tools.offer.no_search and not forced:
        return tools.offer.no_search
    if options.external_web_access is False:
        return "not possible without access to the web"
    return "no calls left by max_tool_calls" if max_calls is not None and max_calls < 1 else ""


def _location(location: Location | None) -> dict[str, Any]:
    """`user_location`, which needs at least one field."""
    given = {} if location is None else {name: getattr(location, name) for name in _LOCATION_FIELDS}
    known = {name: value for name, value in given.items() if value}
    return {"user_location": {"type": "approximate", **known}} if known else {}


def _domains(filters: SearchFilters | None, field: str, ignored: IgnoredFields) -> dict[str, Any]:
    """One of the two lists of domains: the upstream rejects both together."""
    if filters is None:
        return {}
    if filters.allowed_domains:
        if filters.blocked_domains:
            ignored.add(f"{field}.filters.blocked_domains", "allowed_domains are given")
        return {"allowed_domains": list(map(_domain, filters.allowed_domains))}
    return {"blocked_domains": list(map(_domain, filters.blocked_domains))} if filters.blocked_domains else {}


def _domain(text: str) -> str:
    """A domain without a scheme, which the upstream rejects."""
    return text.removeprefix("https://").removeprefix("http://").removesuffix("/")
