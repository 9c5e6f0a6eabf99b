"""POST /v1/messages/count_tokens."""

from django.http import HttpRequest, JsonResponse

from apiproxy.catalog import resolve
from apiproxy.conf import Credential, gateway_settings
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.dialects.anthropic.parse import beta_names, check_body
from apiproxy.http.body import read_json_object, take_body
from apiproxy.keys.authentication import require_allowed, require_model
from apiproxy.limits.count_tokens import limiter
from apiproxy.limits.token_counter import TokenCounter, estimate_tokens

ESTIMATE_HEADER = "x-proxy-token-count"
"""Sent with the value `estimate` if the count is not the upstream's own."""


class Counters:
    """Token counter for the current credential, which changes in demo mode."""

    def __init__(self) -> None:
        self._counter: TokenCounter | None = None
        self._credential: Credential | None = None

    def use(self, credential: Credential) -> None:
        """Sets the credential; without it, that of the settings is used. (A demo's differs from the settings.)"""
        self._credential = credential

    async def current(self) -> TokenCounter:
        """The counter for the current credential."""
        credential = self._credential or gateway_settings().credential
        if self._counter is None or self._counter.credential != credential:
            old, self._counter = self._counter, TokenCounter(credential)
            if old is not None:
                await old.aclose()
        return self._counter

    async def aclose(self) -> None:
        """Close the connections to the upstream; called at shutdown."""
        if self._counter is not None:
            await self._counter.aclose()


counters = Counters()
"""Process-wide instance."""


async def count_tokens(request: HttpRequest, principal: Principal) -> JsonResponse:
    """Count a prompt's input tokens at the upstream, or estimate them.

    The body is forwarded unchanged except for aliases in `model`. Raises ProxyError; LimitError if the key has made too
    many such requests.
    """
    with limiter.counting(principal.key_id, principal.limits.requests_per_minute):
        return await _count(request, principal)


async def _count(request: HttpRequest, principal: Principal) -> JsonResponse:
    raw = take_body(request)
    body_bytes = len(raw)
    body = await read_json_object(raw)
    del raw
    model = await resolve((await offload(body_bytes, check_body, body)).model)
    require_model(principal, model)
    betas = beta_names(request.headers.get("anthropic-beta"))
    await require_allowed(principal, body, betas=betas, body_bytes=body_bytes)
    counter = await counters.current()
    count = None
    if counter.exact:
        count = await counter.count(
            {**body, "model": model.upstream_id or model.id},
            body_bytes=body_bytes,
            betas=",".join(betas),
            beta_api=request.GET.get("beta") == "true",
        )
    if count is None:
        estimate = await offload(body_bytes, estimate_tokens, body)
        return JsonResponse({"input_tokens": estimate}, headers={ESTIMATE_HEADER: "estimate"})
    return JsonResponse({"input_tokens": count})
