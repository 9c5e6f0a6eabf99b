"""Server tools that a key may use with a model at the operator's upstream."""

from apiproxy.catalog import CatalogModel, ResolvedModel
from apiproxy.conf import CredentialKind, gateway_settings
from apiproxy.core.limits import KeyLimits
from apiproxy.core.prices import WEB_SEARCH
from apiproxy.core.principal import Principal
from apiproxy.dialects.openai.translate.server_tools import MCP_BETAS, SEARCH_VERSIONS, ServerToolOffer
from apiproxy.keys.allow_lists import Policy, allows_beta, allows_server_tool
from apiproxy.keys.authentication import policy_of

_VERTEX_SEARCH_BETA = "web-search-2025-03-05"
"""Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/web-search"""
_BASIC_SEARCH_ONLY = ("vertex", "foundry")
_OLD_MCP_BETA_ONLY = ("foundry",)
_AGENT = "an agent has tools of its own"


def offer_to(principal: Principal, model: ResolvedModel) -> ServerToolOffer:
    """Server tools that the key may use with the model, by the settings in force."""
    if model.agent is not None:
        return ServerToolOffer(no_search=_AGENT, no_mcp=_AGENT, own_mcp=True)
    settings = gateway_settings()
    return server_tool_offer(
        policy_of(principal),
        platform=settings.credential.kind,
        model=model,
        limits=principal.limits,
        allow_unpriced=settings.allow_unpriced,
    )


def server_tool_offer(
    policy: Policy, *, platform: CredentialKind, model: ResolvedModel, limits: KeyLimits, allow_unpriced: bool
) -> ServerToolOffer:
    """Server tools for requests in which clients offer them by default.

    policy: allow-lists of the gateway and of the key. An MCP server is the client's explicit choice: one that the lists
    do not allow is rejected, not left out.
    Source of what platforms support: https://platform.claude.com/docs/en/build-with-claude/overview
    """
    versions = SEARCH_VERSIONS[:1] if platform in _BASIC_SEARCH_ONLY else SEARCH_VERSIONS
    allowed = [version for version in versions if allows_server_tool(policy, version)]
    search_betas = (_VERTEX_SEARCH_BETA,) if platform == "vertex" else ()
    mcp_betas = MCP_BETAS[1:] if platform in _OLD_MCP_BETA_ONLY else MCP_BETAS
    no_search = ""
    if platform == "bedrock":
        no_search = "not available on Amazon Bedrock"
    elif not _model_searches(model):
        no_search = "not available with this model"
    elif not allowed or not all(allows_beta(policy, beta) for beta in search_betas):
        no_search = "not allowed for this API key"
    elif limits.budgets and not allow_unpriced and _has_no_price(model):
        no_search = "no price, and this API key has a budget"
    return ServerToolOffer(
        search=allowed[0] if allowed else versions[0],
        search_betas=search_betas,
        no_search=no_search,
        mcp_beta=next((beta for beta in mcp_betas if allows_beta(policy, beta)), mcp_betas[0]),
        mcp_hosts=tuple(policy.mcp_hosts),
        no_mcp={"bedrock": "not on Amazon Bedrock", "vertex": "not on Google Cloud"}.get(platform, ""),
    )


def _model_searches(model: ResolvedModel) -> bool:
    """False if the catalogue says that the model has no web search."""
    known = (model.capabilities if isinstance(model, CatalogModel) else None) or {}
    tools = known.get("server_tools")
    search = tools.get("web_search") if isinstance(tools, dict) else None
    return not isinstance(search, dict) or search.get("supported") is not False


def _has_no_price(model: ResolvedModel) -> bool:
    return model.prices is not None and WEB_SEARCH not in model.prices.tools
