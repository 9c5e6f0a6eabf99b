"""Request helpers for all APIs: id, client address, authentication, record of a rejection."""

import io
import re
import time
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Rejected
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Caller, DialectName, Turn, new_id
from apiproxy.core.upstream_headers import session_headers
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import authenticate, client_ip, require, require_dialect
from apiproxy.sessions.conversation_id import conversation_id

UNREADABLE = ProxyError(FailureKind.INVALID_REQUEST, "The request cannot be read")
"""Replaces the errors of Django's own request parsing."""

_REQUEST_ID = "gateway.request_id"
_CLIENT_ADDRESS = "gateway.client_address"
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MAX_HEADER_CHARS = 512


def request_id(request: HttpRequest) -> str:
    """Id of this request, created at its first use.

    Also the id of the run and trace, and the `request-id` header.
    """
    known: str = request.META.setdefault(_REQUEST_ID, new_id("req_"))
    return known


def head_only(scope: Mapping[str, Any], *, request_id: str) -> HttpRequest:
    """Django request for an ASGI scope whose body has not been read."""
    request = ASGIRequest({**scope, "headers": list(scope["headers"])}, io.BytesIO())
    request.META[_REQUEST_ID] = request_id
    return request


def client_request_id(request: HttpRequest) -> str | None:
    """The client's own `x-request-id`, if it is safe in headers and log lines."""
    return well_formed_id(request.headers.get("x-request-id", ""))


def well_formed_id(given: str) -> str | None:
    """The id, if it is safe in headers and log lines."""
    return given if _WELL_FORMED_ID.fullmatch(given) else None


def client_address(request: HttpRequest) -> str:
    """Client address, resolved once per request (`keys.authentication.client_ip`)."""
    known: str | None = request.META.get(_CLIENT_ADDRESS)
    if known is None:
        peer = request.META.get("REMOTE_ADDR") or ""
        known = client_ip(request.headers, peer=peer, trusted=gateway_settings().trusted_proxies)
        request.META[_CLIENT_ADDRESS] = known
    return known


async def authenticated(request: HttpRequest) -> Principal:
    """The principal of the request's API key. Raises what `keys.authentication.authenticate` raises."""
    made = gateway()
    return await authenticate(
        request.headers, keyring=made.keyring, wrong_keys=made.wrong_keys, address=client_address(request)
    )


async def authorize(request: HttpRequest, dialect: DialectName) -> Principal:
    """`authenticated`, for a key that may use the dialect. Also raises ProxyError: FORBIDDEN."""
    principal = await authenticated(request)
    require(principal, scope="api")
    require_dialect(principal, dialect)
    return principal


def caller_of(request: HttpRequest, principal: Principal | None) -> Caller:
    """Caller of a turn; without a key where the request was not authenticated."""
    ip = client_address(request)
    agent = request.headers.get("user-agent", "")[:_MAX_HEADER_CHARS]
    if principal is None:
        return Caller(key_id=None, key_label="", client_ip=ip, user_agent=agent)
    return Caller(
        key_id=principal.key_id,
        key_label=principal.label,
        client_ip=ip,
        user_agent=agent,
        priority=principal.priority,
        store_bodies=principal.store_bodies,
    )


def publish_rejection(
    request: HttpRequest,
    error: ProxyError,
    *,
    dialect: DialectName,
    principal: Principal | None = None,
    body: Mapping[str, Any] | None = None,
) -> None:
    """Publishes a request that was rejected before it became a run."""
    model = (body or {}).get("model")
    named = model[:_MAX_HEADER_CHARS] if isinstance(model, str) else ""
    turn = Turn(
        id=request_id(request),
        dialect=dialect,
        body=body or {},
        model=named,
        requested_model=named,
        stream=bool((body or {}).get("stream")),
        caller=caller_of(request, principal),
        received_at=time.time(),
        body_bytes=int(request.META.get("CONTENT_LENGTH") or 0),
        conversation_id=conversation_id(request.headers, body),
        headers=session_headers(request.headers),
    )
    gateway().observers.publish(turn, Rejected(time.time(), error))
