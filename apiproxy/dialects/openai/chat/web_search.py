"""Web search of chat requests: `web_search_options`, or a tool as in Responses requests."""

from apiproxy.dialects.openai.chat.schemas import ChatRequest
from apiproxy.dialects.openai.chat.search_schemas import WebSearchOptions
from apiproxy.dialects.openai.translate.ignored import IgnoredFields
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer, ServerTools
from apiproxy.dialects.openai.translate.validation import read
from apiproxy.dialects.openai.translate.web_search import SearchOptions, add_search, is_search_tool


def search_tools(request: ChatRequest, offer: ServerToolOffer, ignored: IgnoredFields) -> ServerTools:
    """Server tools of the request.

    offer: those that the key may use. Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    tools = ServerTools(offer=offer)
    if request.web_search_options is not None:
        asked = _flat(request.web_search_options)
        add_search(tools, asked, field="web_search_options", forced=False, ignored=ignored)
    for index, tool in enumerate(request.tools or ()):
        if is_search_tool(tool.get("type")):
            field = f"tools.{index}"
            add_search(tools, read(SearchOptions, tool, within=field), field=field, forced=False, ignored=ignored)
    return tools


def _flat(options: WebSearchOptions) -> SearchOptions:
    location = options.user_location
    nested = location.approximate if location is not None else None
    return SearchOptions(search_context_size=options.search_context_size, user_location=nested or location)
