"""CORS for the API: Django middleware, and headers of errors raised before Django sees the request."""

import re

from corsheaders.conf import conf
from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apiproxy.conf import gateway_settings
from apiproxy.core.origins import matches_origin

_ALLOW_HEADERS = "access-control-allow-headers"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")


class Cors(CorsMiddleware):
    """Allows the origins of CLAUDE_PROXY_CORS_ORIGINS, with any request headers."""

    def origin_found_in_white_lists(self, origin: str, url: object) -> bool:
        return matches_origin(origin, gateway_settings().cors_origins)

    def add_response_headers(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """List the requested headers by name.

        Some browsers do not support the wildcard, and it never covers `Authorization`.
        """
        super().add_response_headers(request, response)
        asked = request.headers.get("access-control-request-headers", "")
        if _ALLOW_HEADERS in response and _HEADER_NAMES.fullmatch(asked):
            response[_ALLOW_HEADERS] = asked
        return response


def error_headers(origin: str | None) -> list[tuple[bytes, bytes]]:
    """CORS headers of an error response; none if CORS is off.

    origin: of the request; None if it was rejected before its end, when every script may read the error.
    """
    allowed = gateway_settings().cors_origins
    if not allowed:
        return []
    headers = [(b"Vary", b"origin")]
    if origin is None or matches_origin(origin, allowed):
        exposed = ", ".join(conf.CORS_EXPOSE_HEADERS)
        headers.append((b"Access-Control-Allow-Origin", b"*" if origin is None else origin.encode("latin-1")))
        headers.append((b"Access-Control-Expose-Headers", exposed.encode("latin-1")))
    return headers
