"""POST /v1/responses/input_tokens."""

from django.http import HttpRequest, JsonResponse

from apiproxy.conf import gateway_settings
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.dialects.openai.agent_rules import agent_request
from apiproxy.dialects.openai.responses import store
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.recent import recall_items
from apiproxy.dialects.openai.server_tool_offer import offer_to
from apiproxy.dialects.openai.translate.ignored import HEADER
from apiproxy.dialects.openai.translate.messages_body import Target
from apiproxy.gateway import gateway
from apiproxy.http.body import read_json_object, received_body
from apiproxy.http.request import request_id
from apiproxy.http.token_count import count_prompt

_COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "mcp_servers",
    "context_management",
)
"""Fields of a Messages body that count_tokens takes, which rejects all others."""


async def count_input(request: HttpRequest, principal: Principal) -> JsonResponse:
    """Count the input tokens of a Responses body, as the upstream would count its translation.

    Raises ProxyError; LimitError if the key has made too many such requests.
    """
    with gateway().count_limiter.counting(principal.key_id, principal.limits.requests_per_minute):
        return await _count(request, principal)


async def _count(request: HttpRequest, principal: Principal) -> JsonResponse:
    raw = await received_body(request)
    body_bytes = len(raw)
    body = await read_json_object(raw)
    del raw
    # Nothing is stored, so a key without room for another response may count too.
    asked = await offload(body_bytes, read_responses, {**body, "store": False})
    del body
    model = await gateway().catalog.resolve(asked.model)
    if model.agent is not None:
        asked = await offload(body_bytes, agent_request, asked, model.agent)
    target = Target(
        model=model.inner_id,
        kept_as=model.usage_name,
        max_output_tokens=model.max_output_tokens,
        server_tools=offer_to(principal, model),
    )
    stored = await store.load_history(
        asked, principal, model=target.answers_model, request_id=request_id(request), body_bytes=body_bytes
    )
    body_bytes += stored.size_bytes if stored is not None else 0
    recalled = await recall_items(asked, principal, thinks=True, request_id=request_id(request), body_bytes=body_bytes)
    body_bytes += recalled.size_bytes
    translation = await offload(
        body_bytes,
        translate_responses,
        asked,
        target=target,
        strict=gateway_settings().strict,
        stored=stored,
        recalled=recalled,
    )
    counted = {name: translation.body[name] for name in _COUNTED if name in translation.body}
    betas = {"anthropic-beta": ",".join(translation.betas)} if translation.betas else {}
    count = await count_prompt(principal, model, counted, body_bytes=body_bytes, betas=translation.betas, headers=betas)
    ignored = {HEADER: ", ".join(translation.ignored)} if translation.ignored else {}
    return JsonResponse(
        {"object": "response.input_tokens", "input_tokens": count.input_tokens}, headers=count.headers | ignored
    )
