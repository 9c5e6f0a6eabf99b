"""GET /v1/chat/models."""

from typing import Any

from django.http import JsonResponse

from apiproxy.catalog import CatalogModel
from apiproxy.core.principal import Principal
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import usable_models

_LISTED = ("active", "deprecated")


async def list_models(principal: Principal) -> JsonResponse:
    """List the models available to the key, newest first, in OpenAI's format."""
    models = await usable_models(principal, gateway().catalog)
    return JsonResponse({"object": "list", "data": [_entry(model) for model in models if model.lifecycle in _LISTED]})


def _entry(model: CatalogModel) -> dict[str, Any]:
    created = int(model.created_at.timestamp()) if model.created_at is not None else 0
    return {"id": model.id, "object": "model", "created": created, "owned_by": "anthropic"}
