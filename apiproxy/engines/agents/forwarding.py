"""Forwarding of a checked model call to the upstream, and of the response to the CLI."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_encoding import dump_pieces
from apiproxy.core.offload import offload
from apiproxy.core.turns import DEFAULT_API_VERSION
from apiproxy.core.upstream_headers import BETA_HEADER, VERSION_HEADER, client_headers
from apiproxy.engines.agents.model_call import ModelCall
from apiproxy.engines.http.errors import LOST, error_of_response, lost_connection
from apiproxy.engines.http.payload import response_headers
from apiproxy.engines.http.upstream import Upstream, whole_body

_ERROR_TIMEOUT_S = 5.0
_MAX_ERROR_BYTES = 1024 * 1024
_MAX_WHOLE_BYTES = 64 * 1024 * 1024
_COUNT_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 1.0
"""How long a stream may go on after its `message_stop`."""
_PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
_BAD_GATEWAY = 502
_CHUNK_BYTES = 256 * 1024


async def forward(
    request: web.BaseRequest, call: ModelCall, upstream: Upstream, target: str, *, stream: bool
) -> web.StreamResponse:
    """Send the call and pass the response on, as it arrives and no faster than the CLI reads."""
    try:
        response = await _post(request, call.body, upstream, target, call)
    except LOST as error:
        lost, unsent = lost_connection(error)
        call.lost(lost, unsent=unsent)
        return answer_error(lost)
    try:
        if not response.ok or response.status >= 300:
            return await _rejected(response, call)
        if not stream:
            return await _whole(response, call)
        return await _streamed(request, response, call)
    finally:
        response.close()  # without effect if it has ended, because its connection is in the pool then


async def count_tokens(
    request: web.BaseRequest, body: dict[str, Any], upstream: Upstream, target: str
) -> web.StreamResponse:
    """Pass a token count on."""
    try:
        async with asyncio.timeout(_COUNT_TIMEOUT_S):
            response = await _post(request, body, upstream, target, None)
            try:
                answer = await whole_body(response, limit=_MAX_ERROR_BYTES)
            finally:
                response.close()
    except LOST as error:
        return answer_error(lost_connection(error)[0])
    return _response(response.status, answer or b"", response.headers)


def answer_error(error: ProxyError) -> web.Response:
    """Error for the CLI, which may retry those of the connection."""
    status = 400 if error.kind is FailureKind.INVALID_REQUEST else _BAD_GATEWAY
    body = {"type": "error", "error": {"type": "api_error", "message": error.message}}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def _post(
    request: web.BaseRequest, body: dict[str, Any], upstream: Upstream, target: str, call: ModelCall | None
) -> aiohttp.ClientResponse:
    """Send the request. Raises those of LOST, and ProxyError (INVALID_REQUEST) for a body that cannot be encoded."""
    try:
        pieces = await offload(request.content.total_raw_bytes, list, dump_pieces(body))
    except RecursionError:
        raise ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply.") from None
    return await upstream.post(
        target,
        headers=_headers(request, size_bytes=sum(map(len, pieces))),
        pieces=pieces,
        on_sent=_noop if call is None else call.sent,
    )


async def _streamed(request: web.BaseRequest, response: aiohttp.ClientResponse, call: ModelCall) -> web.StreamResponse:
    answer = web.StreamResponse(status=response.status, headers=_passed_on(response.headers))
    answer.content_type = response.content_type
    await answer.prepare(request)
    cut = False
    try:
        while not call.over and (data := await _read(response, call)):
            call.received(data)
            await answer.write(data)
    except LOST as error:
        lost, unsent = lost_connection(error)
        call.lost(lost, unsent=unsent)
        cut = True
    cut = cut or not (call.complete or call.over)
    call.end()
    if cut:
        _cut(request)
    else:
        await answer.write_eof()
    return answer


async def _read(response: aiohttp.ClientResponse, call: ModelCall) -> bytes:
    """Wait for bytes of the stream, and not for long once it is complete."""
    try:
        async with asyncio.timeout(_END_TIMEOUT_S if call.complete else None):
            return await response.content.readany()
    except TimeoutError:
        if call.complete:
            return b""
        raise


async def _rejected(response: aiohttp.ClientResponse, call: ModelCall) -> web.Response:
    """Pass the upstream's error on; without its body if that takes too long or is too large."""
    body = None
    with contextlib.suppress(*LOST):
        async with asyncio.timeout(_ERROR_TIMEOUT_S):
            body = await whole_body(response, limit=_MAX_ERROR_BYTES)
    error = error_of_response(response.status, body or b"", response_headers(response.headers))
    call.rejected(error)
    status = response.status if response.status >= 400 else _BAD_GATEWAY
    return _response(status, body or b"", response.headers)


async def _whole(response: aiohttp.ClientResponse, call: ModelCall) -> web.Response:
    try:
        body = await whole_body(response, limit=_MAX_WHOLE_BYTES)
    except LOST as error:
        lost, unsent = lost_connection(error)
        call.lost(lost, unsent=unsent)
        return answer_error(lost)
    if body is None:
        too_large = ProxyError(FailureKind.MAX_OUTPUT, "The upstream's answer is too large.")
        call.lost(too_large, unsent=False)
        return answer_error(too_large)
    await offload(len(body), call.received_whole, body)
    return _response(response.status, body, response.headers)


def _headers(request: web.BaseRequest, *, size_bytes: int) -> dict[str, str]:
    """The CLI's headers for the upstream, without its credential."""
    given = {name.lower(): value for name, value in request.headers.items()}
    betas = [name for part in given.get(BETA_HEADER, "").split(",") if (name := part.strip())]
    return {
        "accept": "application/json",
        "content-type": "application/json",
        **client_headers(given, betas=betas if _is_plain(given.get(BETA_HEADER, "")) else ()),
        VERSION_HEADER: DEFAULT_API_VERSION,
        "content-length": str(size_bytes),
    }


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    found = {name: headers[name] for name in (*_PASSED_ON, "request-id") if name in headers}
    return {name: value for name, value in found.items() if value.isprintable()}


def _response(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=_passed_on(headers))


def _cut(request: web.BaseRequest) -> None:
    """Close the connection without the end of the response, so that the CLI sees that it is incomplete."""
    if request.transport is not None:
        request.transport.close()


def _noop() -> None:
    """Callback for requests that are free."""
