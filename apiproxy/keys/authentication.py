"""Authentication and authorisation of API keys, independent of Django."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from apiproxy.catalog import Catalog, CatalogModel, ResolvedModel
from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import DialectName
from apiproxy.keys.allow_lists import Policy, check_betas, check_body, matches_name
from apiproxy.keys.cache import Keyring, digest_of
from apiproxy.keys.login_throttle import Throttle, whole_seconds

SECRET_HEADERS = ("x-api-key", "api-key", "x-goog-api-key")
"""Headers for an API key, in addition to `Authorization`: Anthropic's, Azure's and Google's."""
_BEARER = "bearer "
_LOOPBACK4 = IPv4Address("127.0.0.1")
_LOOPBACK6 = IPv6Network("::1/128")


async def authenticate(
    headers: Mapping[str, str], *, keyring: Keyring, wrong_keys: Throttle, address: str = ""
) -> Principal:
    """Return the principal of the request's API key.

    The key is in one of `SECRET_HEADERS` or in `Authorization: Bearer`; one valid key of several is enough.
    headers: looked up in lower case. address: the client's (`client_ip`). Raises ProxyError: UNAUTHENTICATED with the
    texts of the Anthropic API, the same for unknown, revoked and expired keys; RATE_LIMITED after many wrong keys from
    the client's address.
    """
    secrets = presented_secrets(headers)
    if not secrets:
        raise ProxyError(FailureKind.UNAUTHENTICATED, "x-api-key header is required")
    waits_s = {secret: wrong_keys.wait_s(address, digest_of(secret)) for secret in secrets}
    if (wait_s := min(waits_s.values())) > 0:
        message = "Too many requests with a wrong API key from this address."
        raise ProxyError(FailureKind.RATE_LIMITED, message, retry_after_s=whole_seconds(wait_s))
    for secret in secrets:
        principal = await keyring.find(secret) if waits_s[secret] <= 0 else None
        if principal is not None:
            wrong_keys.succeeded(address, digest_of(secret))
            return principal
    wrong_keys.failed(address)
    raise ProxyError(FailureKind.UNAUTHENTICATED, "invalid x-api-key")


def presented_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Distinct secrets in the headers, that of `Authorization` last."""
    authorization = headers.get("authorization", "").strip()
    is_bearer = authorization.lower().startswith(_BEARER)
    bearer = authorization[len(_BEARER) :].strip() if is_bearer else ""
    named = (headers.get(name, "").strip() for name in SECRET_HEADERS)
    return tuple(dict.fromkeys(secret for secret in (*named, bearer) if secret))


def presented_secret(headers: Mapping[str, str]) -> str:
    """First secret in the headers; empty if none."""
    return next(iter(presented_secrets(headers)), "")


def require(principal: Principal, *, scope: str) -> None:
    """Raise ProxyError (FORBIDDEN) unless the key has the scope."""
    if scope not in principal.scopes:
        raise ProxyError(FailureKind.FORBIDDEN, f"This API key lacks the scope `{scope}`.")


def require_dialect(principal: Principal, dialect: DialectName) -> None:
    """Raise ProxyError (FORBIDDEN) unless the key may use the dialect."""
    if principal.allowed_dialects and dialect not in principal.allowed_dialects:
        raise ProxyError(FailureKind.FORBIDDEN, f"This API key may not use the {dialect} API of this gateway.")


def may_use(principal: Principal, model: ResolvedModel) -> bool:
    """True if the key may use the model; its list may have the id or an alias.

    A list without names allows every model, and no agent.
    """
    if not principal.allowed_models:
        return not model.is_agent
    return any(matches_name(allowed, name) for allowed in principal.allowed_models for name in model.names)


def require_model(principal: Principal, model: ResolvedModel) -> None:
    """Check that the key may use the model.

    Raises ProxyError: FORBIDDEN for the key, NOT_FOUND for a disabled model, or the error of an unavailable agent.
    """
    _require_model(principal, model, field="model")
    if model.unavailable is not None:
        message = f"The agent `{model.id}` cannot run: {model.unavailable.message}."
        raise ProxyError(model.unavailable.kind, message, param="model")


async def usable_models(principal: Principal, catalog: Catalog) -> list[CatalogModel]:
    """Models and agents that the key may use, newest first, and versions of agents that its list names."""
    models = await catalog.models()
    pinned = [await catalog.resolve(name) for name in principal.allowed_models if "@" in name and "*" not in name]
    found = [*models, *(model for model in pinned if isinstance(model, CatalogModel) and model.is_agent)]
    usable = {model.id: model for model in found if model.enabled and may_use(principal, model)}
    return [model for model in usable.values() if model.unavailable is None]


def _require_model(principal: Principal, model: ResolvedModel, *, field: str) -> None:
    if not may_use(principal, model):
        where = "" if field == "model" else f"{field}: "
        message = f"{where}This API key may not use the model `{model.id}`."
        raise ProxyError(FailureKind.FORBIDDEN, message, param=field)
    if not model.enabled:
        raise ProxyError(FailureKind.NOT_FOUND, f"{field}: {model.id}", param=field)


async def require_allowed(
    principal: Principal,
    body: Mapping[str, Any],
    *,
    catalog: Catalog,
    betas: Sequence[str] = (),
    body_bytes: int = 0,
) -> None:
    """Check betas, and the further models, server tools and MCP servers of a body.

    Replaces aliases of models by their ids in the body. body_bytes: size of the body as JSON.
    Raises ProxyError with the field: FORBIDDEN, NOT_FOUND or INVALID_REQUEST.
    """
    allowed = policy_of(principal)
    check_betas(allowed, betas)
    named = await offload(body_bytes, check_body, allowed, body)
    for name, found in named.items():
        model = await catalog.resolve(name)
        _require_model(principal, model, field=found.path)
        if model.is_agent:
            message = f"{found.path}: `{model.id}` is an agent, which only `model` may name."
            raise ProxyError(FailureKind.INVALID_REQUEST, message, param=found.path)
        if model.id != name:
            for holder in found.holders:
                holder["model"] = model.id


def policy_of(principal: Principal) -> Policy:
    """Combine the allow-lists of the gateway and of the key."""
    everywhere = gateway_settings().allowed
    return Policy(
        server_tools=(everywhere.server_tools, principal.allowed_server_tools),
        mcp_hosts=(everywhere.mcp_hosts, principal.allowed_mcp_hosts),
        betas=(everywhere.betas, principal.allowed_betas),
        models=bool(principal.allowed_models),
    )


def client_ip(headers: Mapping[str, str], *, peer: str, trusted: tuple[str, ...]) -> str:
    """Client address: the peer's, or from `X-Forwarded-For` of trusted proxies.

    trusted: addresses and networks (CLAUDE_PROXY_TRUSTED_PROXIES). The header is read from its end, where each proxy
    appends its peer, for as long as those peers are trusted: earlier entries may be forged by the client. An invalid
    address ends the walk.
    """
    networks = _networks(trusted)
    client = _address(peer)
    if client is None:
        return peer
    for entry in reversed(headers.get("x-forwarded-for", "").split(",")):
        if not any(client in network for network in networks):
            break
        caller = _address(entry)
        if caller is None:
            break
        client = caller
    return str(client)


def is_trusted_proxy(peer: str, trusted: tuple[str, ...]) -> bool:
    """True if the address of a connection is that of a trusted proxy."""
    address = _address(peer)
    return address is not None and any(address in network for network in _networks(trusted))


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    networks = tuple(ip_network(entry, strict=False) for entry in trusted)
    # The gateway listens on both loopback addresses, and a proxy on this machine may use either.
    return (*networks, _LOOPBACK6) if any(_LOOPBACK4 in network for network in networks) else networks


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
