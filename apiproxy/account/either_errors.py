"""Error responses of paths that both APIs have: clients of either find theirs."""

from django.http import HttpRequest, HttpResponse

from apiproxy.core.errors import ProxyError
from apiproxy.core.json_encoding import dumps
from apiproxy.core.upstream_headers import VERSION_HEADER
from apiproxy.dialects.anthropic import errors as anthropic
from apiproxy.dialects.openai import errors as openai
from apiproxy.http.request import request_id


def either_error_response(error: ProxyError, request_id: str) -> HttpResponse:
    """Response in Anthropic's format with the fields of OpenAI's error object."""
    response = anthropic.error_response(error, request_id)
    shape = anthropic.error_object(error, request_id)
    response.content = dumps({**shape, "error": shape["error"] | openai.error_object(error)["error"]})
    return response


def error_response(error: ProxyError, request: HttpRequest) -> HttpResponse:
    """Response in Anthropic's format for its clients, which send a version; in both for others."""
    if VERSION_HEADER in request.headers:
        return anthropic.error_response(error, request_id(request))
    return either_error_response(error, request_id(request))
