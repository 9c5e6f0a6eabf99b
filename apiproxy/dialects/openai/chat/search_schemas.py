"""Models of `web_search_options` of POST /v1/chat/completions."""

from typing import Literal

from apiproxy.dialects.openai.fields import Accepted
from apiproxy.dialects.openai.translate.web_search import Location


class ChatLocation(Location):
    """Location of the user, within a field of its own as in OpenAI's API, or without."""

    approximate: Location | None = None


class WebSearchOptions(Accepted):
    """Options of a web search; without any, it is allowed nevertheless."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: ChatLocation | None = None
