"""API key checks that precede every request of a dialect."""

from django.http import HttpRequest

from apiproxy.core.principal import Principal
from apiproxy.core.turns import DialectName
from apiproxy.keys.authentication import authenticate, require, require_dialect


async def authorize(request: HttpRequest, dialect: DialectName) -> Principal:
    """Principal of the request's API key.

    Raises ProxyError (UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED).
    """
    principal = await authenticate(request.headers, peer=request.META.get("REMOTE_ADDR") or "")
    require(principal, scope="api")
    require_dialect(principal, dialect)
    return principal
