"""Relay between the CLIs of agents and the upstream: holds the credential, counts and limits the calls.

Each run has a socket and a token of its own. Requests are parsed and encoded anew, so that the upstream gets exactly
what was checked; responses are passed on as received.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
import socket
import sys
from pathlib import Path

import orjson
from aiohttp import web

from apiproxy.core.errors import ProxyError
from apiproxy.core.json_values import ValueBudget
from apiproxy.core.offload import offload
from apiproxy.engines.agents.forwarding import answer_error, count_tokens, forward
from apiproxy.engines.agents.metering import RunMeter
from apiproxy.engines.agents.model_request import CallRefusedError, ModelRequest, checked_request
from apiproxy.engines.http.upstream import Upstream

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 32
_MAX_REQUESTS = 8
"""At once, per run. Subagents that run side by side need several."""
_BACKLOG = 16
_BODY_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 1.0
_IDLE_TIMEOUT_S = 0.001
"""For connections without a request. aiohttp takes 0 for no limit, and would wait for their end."""
_MAX_HEADER_BYTES = 64 * 1024
_MESSAGES = "/v1/messages"
_COUNT_TOKENS = "/v1/messages/count_tokens"
_QUERIES = ("", "beta=true")


class Relay:
    """Opens the sockets of runs. Bound to one event loop.

    max_body_bytes: limit of a request, and half of the limit of a run's requests together.
    """

    def __init__(self, upstream: Upstream, *, max_body_bytes: int) -> None:
        self._upstream = upstream
        self._max_body_bytes = max_body_bytes

    async def open(self, path: Path, *, uid: int | None) -> "RelaySocket":
        """Listen on a new socket that only that user can connect to. uid: None for the gateway's own.

        Raises OSError.
        """
        opened = RelaySocket(self._upstream, path, max_body_bytes=self._max_body_bytes)
        await opened.start(uid)
        return opened


class RelaySocket:
    """The socket of one run. token: the run's, which its CLI has as its API key."""

    def __init__(self, upstream: Upstream, path: Path, *, max_body_bytes: int) -> None:
        self.token = "agent-run-" + secrets.token_urlsafe(32)
        self.path = path
        self._upstream = upstream
        self._meter: RunMeter | None = None
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self._active: set[asyncio.Task[object]] = set()
        self._closing = False
        self._web = web.Server(
            self._handle,
            handler_cancellation=True,  # a CLI that leaves ends its upstream call
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            access_log=None,
            keepalive_timeout=3600,  # as long as the run
        )
        self._server: asyncio.Server | None = None

    async def start(self, uid: int | None) -> None:
        """Create the socket. Raises OSError."""
        bound = _bound(self.path, uid)
        self._server = await asyncio.get_running_loop().create_unix_server(self._protocol, sock=bound, backlog=_BACKLOG)

    def bind(self, meter: RunMeter | None) -> None:
        """Admit calls, counted by that meter; until then, and again after None, every call is refused."""
        self._meter = meter

    async def close(self, *, grace_s: float = 0.0) -> None:
        """End all calls and remove the socket. Returns when the meter has counted the calls.

        grace_s: for calls whose stream is complete, so that their connections can be used again.
        """
        self._closing = True
        if self._server is not None:
            self._server.close()
        if grace_s and self._active:
            await asyncio.wait(self._active, timeout=grace_s)
        for task in self._active:
            task.cancel()
        if self._active:
            await asyncio.wait(self._active, timeout=_CLOSE_TIMEOUT_S)
        await self._web.shutdown(timeout=_IDLE_TIMEOUT_S)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _protocol(self) -> asyncio.Protocol:
        if self._closing or len(self._web.connections) >= _MAX_CONNECTIONS:
            return _Closed()
        return self._web()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        if self._closing or len(self._active) >= _MAX_REQUESTS:
            return _error(429, "rate_limit_error", "Too many requests of this run at once.")
        self._active.add(task)
        try:
            return await self._answer(request)
        except CallRefusedError as refused:
            logger.info("agents.call_refused", extra={"reason": refused.kind})
            return _refusal(refused)
        except ProxyError as error:
            return answer_error(error)
        finally:
            self._active.discard(task)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._authenticates(request):
            return _error(401, "authentication_error", "invalid x-api-key")
        path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
        if request.method != "POST" or path not in (_MESSAGES, _COUNT_TOKENS) or query not in _QUERIES:
            return _error(404, "not_found_error", "Agents may call /v1/messages only.")
        meter = self._meter
        if meter is None:
            return _error(403, "permission_error", "This run has not begun, or is over.")
        counting = path == _COUNT_TOKENS
        checked = await self._checked(request, meter, counting=counting)
        target = f"{path}?{query}" if query else path
        if counting:
            meter.admit_count()
            return await count_tokens(request, checked.body, self._upstream, target)
        call = meter.admit(checked)
        try:
            return await forward(request, call, self._upstream, target, stream=checked.stream)
        finally:
            call.close()

    def _authenticates(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    async def _checked(self, request: web.BaseRequest, meter: RunMeter, *, counting: bool) -> ModelRequest:
        """Read, parse and check the request. Raises CallRefusedError, ProxyError."""
        held = 0
        parts: list[bytes] = []

        def reserve(size: int) -> None:
            nonlocal held
            if held + size > self._max_body_bytes or self._body_bytes + size > 2 * self._max_body_bytes:
                raise CallRefusedError("request", "The request is too large.")
            held += size
            self._body_bytes += size

        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while data := await request.content.readany():
                    reserve(len(data))
                    parts.append(data)
            raw = b"".join(parts)
            parts.clear()
            return await offload(len(raw), _parsed, raw, meter, counting)
        except TimeoutError:
            raise CallRefusedError("request", "The request was not sent in time.") from None
        finally:
            self._body_bytes -= held


def _parsed(raw: bytes, meter: RunMeter, counting: bool) -> ModelRequest:
    try:
        body = ValueBudget().loads(raw)
    except (ValueError, RecursionError):
        raise CallRefusedError("request", "The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise CallRefusedError("request", "The request body must be a JSON object.")
    return checked_request(
        body,
        model=meter.agent.model,
        prices=meter.prices,
        sources=meter.sources,
        context_window=meter.context_window,
        counting=counting,
    )


_STATUSES = {"model": (403, "permission_error"), "budget": (402, "billing_error")}
_INVALID = (400, "invalid_request_error")


def _refusal(refused: CallRefusedError) -> web.Response:
    return _error(*_STATUSES.get(refused.kind, _INVALID), refused.message)


def _error(status: int, kind: str, message: str) -> web.Response:
    """Error that the CLI does not retry."""
    body = {"type": "error", "error": {"type": kind, "message": message}}
    headers = {"x-should-retry": "false"}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


def _bound(path: Path, uid: int | None) -> socket.socket:
    """A socket at a path of any length: those of sockets hold about 100 bytes, unlike this descriptor's."""
    bound = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        bound.bind(f"/proc/self/fd/{folder}/{path.name}" if sys.platform == "linux" else str(path))
        path.chmod(0o600)
        if uid is not None:
            os.chown(path, uid, uid)
    except OSError:
        bound.close()
        raise
    finally:
        os.close(folder)
    return bound


class _Closed(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
