"""A 501 for the endpoints in `unbuilt.py`, in the shape of the endpoint's API.

Clients probe some of them as they start. A bare 404 looks like a wrong address; a 501 without `x-should-retry: false`
is asked for three times.
"""

from django.http import HttpRequest, HttpResponse

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import DialectName
from apiproxy.dialects.anthropic import errors as anthropic
from apiproxy.dialects.openai import errors as openai
from apiproxy.http.request import authorize, request_id
from proxy_site.unbuilt import Unbuilt


async def answer_unbuilt(request: HttpRequest, endpoint: Unbuilt) -> HttpResponse:
    """501 for a key that may use the API, in the shape of the API."""
    dialect = endpoint.dialect_of(request.headers)
    try:
        await authorize(request, dialect)
    except ProxyError as error:
        return _response(error, dialect, request)
    message = f"/v1{endpoint.path} is not implemented by this gateway: {endpoint.hint}."
    return _response(ProxyError(FailureKind.NOT_IMPLEMENTED, message), dialect, request)


def _response(error: ProxyError, dialect: DialectName, request: HttpRequest) -> HttpResponse:
    if dialect == "anthropic":
        return anthropic.error_response(error, request_id(request))
    return openai.error_response(error)
