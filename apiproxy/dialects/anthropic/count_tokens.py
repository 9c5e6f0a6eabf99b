"""POST /v1/messages/count_tokens."""

from django.http import HttpRequest, JsonResponse

from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.upstream_headers import BETA_HEADER, VERSION_HEADER, api_version, client_headers
from apiproxy.dialects.anthropic.parse import check_body, sent_betas
from apiproxy.engines.sdk.overlay import system_with_identity
from apiproxy.gateway import gateway
from apiproxy.http.body import read_json_object, take_body
from apiproxy.keys.authentication import require_allowed, require_model
from apiproxy.limits.token_counter import estimate_tokens

ESTIMATE_HEADER = "x-proxy-token-count"
"""Sent with the value `estimate` if the count is not the upstream's own."""


async def count_tokens(request: HttpRequest, principal: Principal) -> JsonResponse:
    """Count a prompt's input tokens at the upstream, or estimate them.

    The body is forwarded unchanged except for aliases in `model` and what the sdk engine adds. Raises ProxyError;
    LimitError if the key has made too many such requests.
    """
    with gateway().count_limiter.counting(principal.key_id, principal.limits.requests_per_minute):
        return await _count(request, principal)


async def _count(request: HttpRequest, principal: Principal) -> JsonResponse:
    raw = take_body(request)
    body_bytes = len(raw)
    body = await read_json_object(raw)
    del raw
    version, betas = api_version(request.headers), sent_betas(request.headers.get(BETA_HEADER))
    model = await gateway().catalog.resolve((await offload(body_bytes, check_body, body)).model)
    require_model(principal, model)
    await require_allowed(principal, body, catalog=gateway().catalog, betas=betas, body_bytes=body_bytes)
    counter = gateway().token_counter
    count = None
    if counter.exact:
        added = {"system": system_with_identity(body.get("system"))} if model.engine == "sdk" else {}
        count = await counter.count(
            {**body, **added, "model": model.upstream_id or model.id},
            body_bytes=body_bytes,
            headers=client_headers(request.headers, betas=betas) | {VERSION_HEADER: version},
            beta_api=request.GET.get("beta") == "true",
        )
    if count is None:
        estimate = await offload(body_bytes, estimate_tokens, body)
        return JsonResponse({"input_tokens": estimate}, headers={ESTIMATE_HEADER: "estimate"})
    return JsonResponse({"input_tokens": count})
