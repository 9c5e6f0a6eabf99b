"""Properties of paths: handler, error format, thread policy, API key.

A new dialect adds its prefixes here.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from apiproxy.core.turns import DialectName
from proxy_site.unbuilt import find_unbuilt


class Errors(Enum):
    """Formats of error bodies."""

    ANTHROPIC = auto()
    OPENAI = auto()
    EITHER = auto()
    """One that clients of both APIs can read, for paths that both have."""
    OPERATIONS = auto()
    """A flat JSON object."""
    PAGE = auto()
    """HTML for browsers, else as ANTHROPIC."""


class Handler(Enum):
    """Handlers of a request."""

    API = auto()
    PAGES = auto()
    PAGES_WITH_COOKIE = auto()
    """PAGES for requests with a cookie, which may be a staff login; API for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Properties of all paths that begin with a prefix.

    api_key: large bodies need a valid key. turn: requests have their own deadlines, so database statements are not
    limited. own_thread: Django creates a thread for the request, so that a query that hangs does not block others.
    """

    prefix: str
    errors: Errors = Errors.ANTHROPIC
    handler: Handler = Handler.API
    api_key: bool = False
    turn: bool = False
    own_thread: bool = True


def _turns(*prefixes: str, errors: Errors) -> tuple[Route, ...]:
    return tuple(Route(prefix=it, errors=errors, api_key=True, turn=True, own_thread=False) for it in prefixes)


_API = Route(prefix="/v1/", api_key=True)
_ROUTES = (
    *_turns("/v1/messages", "/messages", errors=Errors.ANTHROPIC),
    *_turns("/v1/chat", "/chat", "/v1/responses", "/responses", errors=Errors.OPENAI),
    Route(prefix="/v1/models", errors=Errors.EITHER, api_key=True),
    _API,
    Route(prefix="/models", errors=Errors.EITHER, api_key=True),
    Route(prefix="/healthz", own_thread=False),
    Route(prefix="/readyz", own_thread=False),
    Route(prefix="/api/hello", own_thread=False),
    Route(prefix="/debug", errors=Errors.OPERATIONS, handler=Handler.PAGES_WITH_COOKIE),
    Route(prefix="/metrics", errors=Errors.OPERATIONS, handler=Handler.PAGES_WITH_COOKIE),
    Route(prefix="/sessions", errors=Errors.OPERATIONS),
    Route(prefix="/dashboard", errors=Errors.PAGE, handler=Handler.PAGES),
    Route(prefix="/admin", errors=Errors.PAGE, handler=Handler.PAGES),
    Route(prefix="/static/", handler=Handler.PAGES),
)
"""The first match counts."""
_DEFAULT = Route(prefix="")
_UNBUILT: dict[DialectName | None, Route] = {
    "anthropic": Route(prefix="", errors=Errors.ANTHROPIC, api_key=True),
    "openai": Route(prefix="", errors=Errors.OPENAI, api_key=True),
    None: Route(prefix="", errors=Errors.EITHER, api_key=True),
}
"""Routes of the endpoints in `unbuilt.py`, by the API that has them."""

TURN_DIALECTS: dict[str, DialectName] = {
    "/messages": "anthropic",
    "/chat/completions": "openai",
    "/responses": "openai",
    "/responses/compact": "openai",
}
"""Dialects of the paths, without `/v1`, whose POST requests become turns."""

SOCKET_PATHS = ("/dashboard/live",)

_SLASHES = re.compile("//+")
_REPEATED_VERSION = re.compile("(?:/v1)+(?=/v1(?:/|$))")


def route_of(path: str) -> Route:
    """The properties of a path, in any of the forms that `canonical_path` accepts."""
    return _route_of(canonical_path(path))


def canonical_path(path: str) -> str:
    """Path of the API endpoint, without extra slashes and repeated `/v1`; other paths unchanged.

    Clients append `/v1/messages` or `/messages` to a base URL that ends with a slash or with `/v1`. Paths that need no
    API key are kept as they are: a proxy in front may restrict them by their exact form.
    """
    if path in ("/v1", "/v1/"):
        return "/"
    if "//" not in path and not path.endswith("/") and not path.startswith("/v1/v1"):
        return path
    simple = _SLASHES.sub("/", path).rstrip("/")
    if repeated := _REPEATED_VERSION.match(simple):
        simple = simple[repeated.end() :]
    return simple if _route_of(simple).api_key else path


def _route_of(path: str) -> Route:
    route = next((it for it in _ROUTES if path.startswith(it.prefix)), _DEFAULT)
    if route in (_API, _DEFAULT) and (unbuilt := find_unbuilt(path)) is not None:
        return _UNBUILT[unbuilt.dialect]
    return route
