"""What both dialects do with a request before it is a turn: its id, its caller, and the note of a refusal."""

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
from apiproxy.keys.authentication import client_ip
from apiproxy.runs.observers import observers
from apiproxy.sessions.conversation_id import conversation_id

UNREADABLE = ProxyError(FailureKind.INVALID_REQUEST, "The request cannot be read")
"""For what Django refuses on its own."""

_REQUEST_ID = "gateway.request_id"
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MAX_HEADER_CHARS = 512


def request_id(request: HttpRequest) -> str:
    """The id of this request, made at its first use: the run's, the trace's and the `request-id` header."""
    known: str = request.META.setdefault(_REQUEST_ID, new_id("req_"))
    return known


def head_only(scope: Mapping[str, Any], *, request_id: str) -> HttpRequest:
    """The request of an ASGI scope as Django would make it, before its body has been read."""
    request = ASGIRequest({**scope, "headers": list(scope["headers"])}, io.BytesIO())
    request.META[_REQUEST_ID] = request_id
    return request


def client_request_id(request: HttpRequest) -> str | None:
    """The client's own `x-request-id`, if it is one that can go into a header and a log line."""
    return well_formed_id(request.headers.get("x-request-id", ""))


def well_formed_id(given: str) -> str | None:
    """The id, if it is one that can go into a header and a log line."""
    return given if _WELL_FORMED_ID.fullmatch(given) else None


def caller_of(request: HttpRequest, principal: Principal | None) -> Caller:
    """Who asks; without a principal somebody unknown."""
    peer = request.META.get("REMOTE_ADDR") or ""
    ip = client_ip(request.headers, peer=peer, trusted=gateway_settings().trusted_proxies)
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


def note_refusal(
    request: HttpRequest,
    error: ProxyError,
    *,
    dialect: DialectName,
    principal: Principal | None = None,
    body: Mapping[str, Any] | None = None,
) -> None:
    """Tells the observers of a request that was refused before it was a run."""
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
    )
    observers.publish(turn, Rejected(time.time(), error))
