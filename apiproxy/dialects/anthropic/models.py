"""GET /v1/models and /v1/models/{id}."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, JsonResponse, QueryDict

from apiproxy.catalog import CatalogModel
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import may_use, usable_models

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
_LISTED_BY_DEFAULT = ("active", "deprecated")
_LIFECYCLES = (*_LISTED_BY_DEFAULT, "retired")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the Models API's value for an unknown release date
_OWNER = "anthropic"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Requested page.

    limit: None for all. At most one of before_id and after_id (model ids) may be set.
    """

    limit: int | None
    before_id: str | None = None
    after_id: str | None = None


async def list_models(request: HttpRequest, principal: Principal) -> JsonResponse:
    """List the models available to the key, newest first.

    With the header `anthropic-version`: format and paging of the Models API. Without it: a format that OpenAI's client
    also reads, and all models unless a limit is given. Raises ProxyError (INVALID_REQUEST).
    """
    anthropic_shape = "anthropic-version" in request.headers
    lifecycles = _lifecycles(request.GET)
    usable = await usable_models(principal, gateway().catalog)
    models = [model for model in usable if model.lifecycle in lifecycles]
    chosen, has_more = page(models, _page_request(request.GET, limit=DEFAULT_LIMIT if anthropic_shape else None))
    listing: dict[str, Any] = {
        "data": [as_anthropic(model) if anthropic_shape else as_anthropic_and_openai(model) for model in chosen],
        "has_more": has_more,
        "first_id": chosen[0].id if chosen else None,
        "last_id": chosen[-1].id if chosen else None,
    }
    return JsonResponse(listing if anthropic_shape else {"object": "list"} | listing)


async def retrieve_model(request: HttpRequest, principal: Principal, model_id: str) -> JsonResponse:
    """Return a model by its id or an alias.

    Raises ProxyError (NOT_FOUND) if unknown or not allowed for the key.
    """
    model = await gateway().catalog.resolve(model_id)
    if not isinstance(model, CatalogModel) or not model.enabled or model.unavailable or not may_use(principal, model):
        raise ProxyError(FailureKind.NOT_FOUND, f"model: {model_id}")
    return JsonResponse(
        as_anthropic(model) if "anthropic-version" in request.headers else as_anthropic_and_openai(model)
    )


def page(models: Sequence[CatalogModel], wanted: PageRequest) -> tuple[Sequence[CatalogModel], bool]:
    """Models on the page, and whether more follow in the paging direction.

    Raises ProxyError (INVALID_REQUEST) for an id that is not in the list, or if both ids are given.
    """
    if wanted.before_id is not None and wanted.after_id is not None:
        raise _invalid("before_id", "Only one of before_id and after_id may be given")
    limit = len(models) if wanted.limit is None else wanted.limit
    if wanted.before_id is not None:
        end = _index_of(models, "before_id", wanted.before_id)
        start = max(0, end - limit)
        return models[start:end], start > 0
    start = 0 if wanted.after_id is None else _index_of(models, "after_id", wanted.after_id) + 1
    return models[start : start + limit], start + limit < len(models)


def as_anthropic(model: CatalogModel) -> dict[str, Any]:
    """Model object of the Models API (`ModelInfo`), and `description`, which Claude Code shows."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": _rfc3339(model.created_at or _EPOCH),
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
        "lifecycle": model.lifecycle,
        "line": model.family or None,
        "deprecated_at": None,
        "retires_at": _rfc3339(model.retires_at) if model.retires_at is not None else None,
        "description": model.description or None,
        "capabilities": model.capabilities,
    }


def as_anthropic_and_openai(model: CatalogModel) -> dict[str, Any]:
    """Model object that clients of both APIs can read."""
    created = int((model.created_at or _EPOCH).timestamp())
    return as_anthropic(model) | {"object": "model", "created": created, "owned_by": _OWNER}


def _page_request(query: QueryDict, *, limit: int | None) -> PageRequest:
    raw = query.get("limit")
    if raw is not None:
        if not (raw.isascii() and raw.isdecimal() and 1 <= int(raw[:10]) <= MAX_LIMIT):
            raise _invalid("limit", f"Input should be an integer from 1 to {MAX_LIMIT}")
        limit = int(raw)
    return PageRequest(limit=limit, before_id=query.get("before_id") or None, after_id=query.get("after_id") or None)


def _lifecycles(query: QueryDict) -> Sequence[str]:
    """Requested lifecycle stages; the official client sends a list as `lifecycle[]`."""
    wanted = [*query.getlist("lifecycle"), *query.getlist("lifecycle[]")]
    if any(lifecycle not in _LIFECYCLES for lifecycle in wanted):
        raise _invalid("lifecycle", f"Input should be one of {', '.join(_LIFECYCLES)}")
    return wanted or _LISTED_BY_DEFAULT


def _index_of(models: Sequence[CatalogModel], param: str, model_id: str) -> int:
    for position, model in enumerate(models):
        if model.id == model_id:
            return position
    raise _invalid(param, "No such model in this list")


def _invalid(param: str, reason: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, f"{param}: {reason}", param=param)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
