"""Counting of a prompt's input tokens, for the endpoints of both APIs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.catalog import ResolvedModel
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.engines.agents.counting import counted_body
from apiproxy.engines.sdk.overlay import system_with_identity
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import require_allowed, require_model
from apiproxy.limits.token_counter import estimate_tokens

ESTIMATE_HEADER = "x-proxy-token-count"
"""Sent with the value `estimate` if the count is not the upstream's own."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Input tokens of a prompt. exact: counted by the upstream, not estimated."""

    input_tokens: int
    exact: bool

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that tell an estimate."""
        return {} if self.exact else {ESTIMATE_HEADER: "estimate"}


async def count_prompt(
    principal: Principal,
    model: ResolvedModel,
    body: Mapping[str, Any],
    *,
    body_bytes: int,
    betas: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    beta_api: bool = False,
) -> TokenCount:
    """Count or estimate the input tokens of a Messages body.

    Counted by the upstream if possible; for an agent, without its tools.
    body_bytes: size of the body as JSON. betas, headers, beta_api: see `TokenCounter.count`. Raises ProxyError: as that
    does, and for a model, a beta or a tool that the key may not use.
    """
    require_model(principal, model)
    await require_allowed(principal, body, catalog=gateway().catalog, betas=betas, body_bytes=body_bytes)
    counter = gateway().token_counter
    if (agent := model.agent) is not None:
        body = await offload(body_bytes, counted_body, body, agent)
    if counter.exact:
        added = {"system": system_with_identity(body.get("system"))} if model.engine == "sdk" else {}
        named = {**body, **added, "model": model.upstream_id or model.inner_id}
        count = await counter.count(named, body_bytes=body_bytes, headers=headers, beta_api=beta_api)
        if count is not None:
            return TokenCount(count, exact=agent is None)
    return TokenCount(await offload(body_bytes, estimate_tokens, body), exact=False)
