"""POST /v1/messages/count_tokens."""

from django.http import HttpRequest, JsonResponse

from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.upstream_headers import BETA_HEADER, VERSION_HEADER, api_version, client_headers
from apiproxy.dialects.agent_rules import check_agent_body
from apiproxy.dialects.anthropic.parse import check_body, sent_betas
from apiproxy.gateway import gateway
from apiproxy.http.body import read_json_object, received_body
from apiproxy.http.token_count import count_prompt


async def count_tokens(request: HttpRequest, principal: Principal) -> JsonResponse:
    """Count a prompt's input tokens at the upstream, or estimate them.

    The body is forwarded unchanged except for aliases in `model` and what the sdk engine adds. Raises ProxyError;
    LimitError if the key has made too many such requests.
    """
    with gateway().count_limiter.counting(principal.key_id, principal.limits.requests_per_minute):
        return await _count(request, principal)


async def _count(request: HttpRequest, principal: Principal) -> JsonResponse:
    raw = await received_body(request)
    body_bytes = len(raw)
    body = await read_json_object(raw)
    del raw
    version, betas = api_version(request.headers), sent_betas(request.headers.get(BETA_HEADER))
    model = await gateway().catalog.resolve((await offload(body_bytes, check_body, body)).model)
    if model.agent is not None:
        await offload(body_bytes, check_agent_body, model.agent, body)
    count = await count_prompt(
        principal,
        model,
        body,
        body_bytes=body_bytes,
        betas=betas,
        headers=client_headers(request.headers, betas=betas) | {VERSION_HEADER: version},
        beta_api=request.GET.get("beta") == "true",
    )
    return JsonResponse({"input_tokens": count.input_tokens}, headers=count.headers)
