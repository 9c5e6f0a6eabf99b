"""GET /openapi.json: OpenAPI document of the API.

Paths come from django-ninja, request bodies and errors from the dialects.
"""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET
from pydantic import BaseModel

from apiproxy.account.api import api as account_api
from apiproxy.core.errors import ProxyError
from apiproxy.core.version import VERSION
from apiproxy.dialects.anthropic import errors
from apiproxy.dialects.anthropic.api import api as anthropic_api
from apiproxy.dialects.anthropic.schemas import MessagesIn
from apiproxy.dialects.openai.api import api as openai_api
from apiproxy.dialects.openai.chat.schemas import ChatRequest
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.http.request import authenticated, request_id

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_BODIES: dict[str, type[BaseModel]] = {
    "/v1/messages": MessagesIn,
    "/v1/messages/count_tokens": MessagesIn,
    "/v1/chat/completions": ChatRequest,
    "/v1/responses": ResponsesRequest,
    "/v1/responses/compact": ResponsesRequest,
    "/v1/responses/input_tokens": ResponsesRequest,
}
_STREAMED = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
_TEXT: Json = {"type": "string"}
_ANTHROPIC_ERROR: Json = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "request_id": _TEXT,
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": _TEXT, "message": _TEXT, "details": {"type": "object"}},
        },
    },
}
_OPENAI_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def _parameter(where: str, name: str, description: str, **schema: Any) -> Json:
    return {"in": where, "name": name, "description": description, "schema": schema or _TEXT}


_CONVERSATION = [
    _parameter("header", "x-conversation-id", "Conversation of the request."),
    _parameter("header", "x-conversation-mode", "`append`: inserts its stored messages before those of the body."),
]
_BETA = _parameter("header", "anthropic-beta", "Names of beta features, separated by commas; passed on.")
_VERSION = _parameter("header", "anthropic-version", "Version of the API, such as 2023-06-01; passed on.")
_SHAPE = _parameter("header", "anthropic-version", "With it lists of models are in the shape of the Models API.")
_PARAMETERS: dict[str, list[Json]] = {
    "/v1/messages": [_BETA, _VERSION, *_CONVERSATION],
    "/v1/messages/count_tokens": [_BETA, _VERSION],
    "/v1/chat/completions": _CONVERSATION,
    "/v1/responses": _CONVERSATION,
    "/v1/responses/{response_id}/input_items": [
        _parameter("query", "limit", "Items on a page.", type="integer", minimum=1, maximum=100),
        _parameter("query", "order", "Newest first by default.", enum=["asc", "desc"]),
        _parameter("query", "after", "The page after this item."),
    ],
    "/v1/models": [
        _SHAPE,
        _parameter("query", "limit", "Models on a page.", type="integer", minimum=1, maximum=1000),
        _parameter("query", "before_id", "The page before this model."),
        _parameter("query", "after_id", "The page after this model."),
        _parameter("query", "client_version", "Version of Codex: the answer has its format."),
        _parameter("query", "lifecycle", "Only models in this stage.", enum=["active", "deprecated", "retired"]),
    ],
    "/v1/models/{model_id}": [_SHAPE],
    "/v1/usage": [_parameter("query", "days", "Days, today included.", type="integer", minimum=1, maximum=366)],
}


@require_GET
async def openapi(request: HttpRequest) -> HttpResponse:
    """The document; needs an API key."""
    try:
        await authenticated(request)
    except ProxyError as error:
        return errors.error_response(error, request_id(request))
    return JsonResponse(document())


@cache
def document() -> Json:
    """The document; a path that works with and without `/v1` is listed with it."""
    schemas: Json = {"AnthropicError": _ANTHROPIC_ERROR, "OpenAIError": _OPENAI_ERROR}
    paths: Json = {}
    for api, error in ((anthropic_api, "AnthropicError"), (openai_api, "OpenAIError"), (account_api, "AnthropicError")):
        for path, known in api.get_openapi_schema(path_prefix="")["paths"].items():
            paths[path] = {
                method: _operation(path, method, operation, error, schemas) for method, operation in known.items()
            }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Claude gateway", "version": VERSION},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"key": []}, {"bearer": []}],
    }


def _operation(path: str, method: str, known: Json, error: str, schemas: Json) -> Json:
    refused = {"application/json": {"schema": {"$ref": _REF.format(model=error)}}}
    whole: Json = {"application/json": {"schema": {"type": "object"}}}
    operation: Json = {
        "operationId": f"{method} {path}",
        "summary": known["description"],
        "parameters": [*known["parameters"], *_PARAMETERS.get(path, [])],
        "responses": {
            "200": {"description": "The answer", "content": whole},
            "4XX": {"description": "The request was rejected", "content": refused},
            "5XX": {"description": "The gateway or its upstream failed", "content": refused},
        },
    }
    if path in _STREAMED:
        whole["text/event-stream"] = {"schema": _TEXT}
    if method == "post" and path in _BODIES:
        schema = _hoisted(_BODIES[path], schemas)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _hoisted(model: type[BaseModel], schemas: Json) -> Json:
    """A reference to the model's schema, which is added to the document's schemas with its definitions."""
    schema = model.model_json_schema(ref_template=_REF)
    schemas |= schema.pop("$defs", {})
    schemas[model.__name__] = schema
    return {"$ref": _REF.format(model=model.__name__)}
