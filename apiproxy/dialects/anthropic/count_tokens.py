"""POST /v1/messages/count_tokens."""

from django.http import HttpRequest, JsonResponse

from apiproxy.auth import require_model
from apiproxy.catalog import resolve
from apiproxy.conf import gateway_settings
from apiproxy.dialects.anthropic.parse import check_body
from apiproxy.dialects.anthropic.token_counter import TokenCounter, estimate_tokens
from apiproxy.keys import Principal
from apiproxy.offload import offload
from apiproxy.wire.body import read_json_object

ESTIMATE_HEADER = "x-proxy-token-count"
"""Its value is `estimate` where the upstream could not be asked; otherwise it is not there."""


class Counters:
    """The counter of the upstream in force, made anew when another credential comes into force (the demo's does)."""

    def __init__(self) -> None:
        self._counter: TokenCounter | None = None

    async def current(self) -> TokenCounter:
        """The counter for the settings' credential."""
        credential = gateway_settings().credential
        if self._counter is None or self._counter.credential != credential:
            old, self._counter = self._counter, TokenCounter(credential)
            if old is not None:
                await old.aclose()
        return self._counter

    async def aclose(self) -> None:
        """Closes the connections to the upstream; to be called when the server stops."""
        if self._counter is not None:
            await self._counter.aclose()


counters = Counters()
"""The counters of this process."""


async def count_tokens(request: HttpRequest, principal: Principal) -> JsonResponse:
    """The number of input tokens of the body's prompt, by the upstream's own count where it can be asked.

    The body goes there unchanged, but for an alias in `model`. Raises ProxyError.
    """
    raw = request.body
    body = await read_json_object(raw)
    model = await resolve((await offload(len(raw), check_body, body)).model)
    require_model(principal, model)
    counter = await counters.current()
    count = None
    if counter.exact:
        count = await counter.count(
            {**body, "model": model.id},
            body_bytes=len(raw),
            betas=request.headers.get("anthropic-beta", ""),
            beta_api=request.GET.get("beta") == "true",
        )
    if count is None:
        estimate = await offload(len(raw), estimate_tokens, body)
        return JsonResponse({"input_tokens": estimate}, headers={ESTIMATE_HEADER: "estimate"})
    return JsonResponse({"input_tokens": count})
