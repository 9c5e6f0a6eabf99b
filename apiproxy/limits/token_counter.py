"""Token counting by the upstream's endpoint or a local estimate."""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx2
import orjson

from apiproxy.conf import Credential
from apiproxy.core.custom_headers import VARIABLE, parse_custom_headers
from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.json_encoding import dump_pieces, dumps
from apiproxy.core.offload import OFFLOAD_BYTES, offload
from apiproxy.core.turns import DEFAULT_API_VERSION
from apiproxy.http.upstream_headers import VERSION_HEADER

COUNT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0

_MISSING_ENDPOINT_STATUSES = (404, 405, 501)
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=10, keepalive_expiry=30.0)

_CHARACTERS_PER_TOKEN = 2.5
"""For the tokenizer since Opus 4.7; older ones produce fewer tokens. Source: "1M tokens is roughly 555k words or 2.5M
Unicode characters", https://platform.claude.com/docs/en/about-claude/models/overview"""
_IMAGE_TOKENS = 1_600  # largest image that is not scaled down; source: docs/en/build-with-claude/vision
_DOCUMENT_TOKENS = 3_000  # maximum for one page; source: docs/en/build-with-claude/pdf-support
_NOT_TEXT = frozenset({"type", "cache_control", "signature", "id", "tool_use_id", "media_type"})


class TokenCounter:
    """Client of one upstream's count_tokens endpoint.

    Connects on first use; bound to one event loop.
    """

    def __init__(self, credential: Credential, *, timeout_s: float = COUNT_TIMEOUT_S) -> None:
        self.credential = credential
        self._timeout_s = timeout_s
        self._client: httpx2.AsyncClient | None = None

    @property
    def exact(self) -> bool:
        """True if the upstream can count tokens; false for the cloud platforms."""
        return self.credential.base_url is not None

    async def count(
        self,
        body: Mapping[str, Any],
        *,
        body_bytes: int = 0,
        headers: Mapping[str, str] | None = None,
        beta_api: bool = False,
    ) -> int | None:
        """Input tokens as counted by the upstream; None if it has no such endpoint.

        body_bytes: size of the body as JSON. headers: the client's that go upstream. beta_api: whether it sent
        `?beta=true`. Raises ProxyError: UPSTREAM_ERROR, STALL after the timeout, CONNECTION_LOST, and
        INVALID_REQUEST for a body that is nested too deeply.
        """
        pieces = await offload(body_bytes, _encode, body, body_bytes)
        if self._client is None:
            self._client = _client(self.credential)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.post(
                    "/v1/messages/count_tokens",
                    content=pieces[0] if len(pieces) == 1 else _iterate(pieces),
                    headers=self._headers(headers or {}, size_bytes=sum(map(len, pieces))),
                    params={"beta": "true"} if beta_api else {},
                )
        except TimeoutError as error:
            raise ProxyError(FailureKind.STALL, "The upstream timed out counting the tokens.") from error
        except httpx2.HTTPError as error:
            raise ProxyError(FailureKind.CONNECTION_LOST, "The connection to the upstream API was lost.") from error
        answer = _json_object(response)
        # A gateway with /v1/messages only; the API's own 404 has an error object.
        if response.status_code in _MISSING_ENDPOINT_STATUSES and "error" not in answer:
            return None
        if response.is_error:
            raise _upstream_error(response, answer)
        count = answer.get("input_tokens")
        if not isinstance(count, int):
            raise ProxyError(FailureKind.CONNECTION_LOST, "The upstream returned no token count.")
        return count

    def _headers(self, client: Mapping[str, str], *, size_bytes: int) -> dict[str, str]:
        """The client's headers, except those that the operator sets."""
        operators = {name.lower() for name, _ in parse_custom_headers(self.credential.env.get(VARIABLE, ""))}
        chosen = {name: value for name, value in client.items() if name == VERSION_HEADER or name not in operators}
        return chosen | {"content-length": str(size_bytes)}

    async def aclose(self) -> None:
        """Close the connections. May be called twice; a later count opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await client.aclose()


def estimate_tokens(body: Mapping[str, Any]) -> int:
    """Estimated input tokens of a body, biased upwards; at least 1."""
    characters, fixed = _text_size([body.get(name) for name in ("system", "tools", "messages")])
    return max(1, math.ceil(characters / _CHARACTERS_PER_TOKEN) + fixed)


def _text_size(value: object) -> tuple[int, int]:
    """Characters of text in a JSON value, and tokens of its images and documents."""
    characters, fixed = 0, 0
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            characters += len(part)
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict) and (tokens := _media_tokens(part)):
            fixed += tokens
        elif isinstance(part, dict):
            for name, item in part.items():
                if name not in _NOT_TEXT:
                    waiting += (name, item)
    return characters, fixed


def _media_tokens(block: Mapping[str, Any]) -> int:
    """Tokens of an image or a non-text document; 0 for any other block."""
    if block.get("type") == "image":
        return _IMAGE_TOKENS
    source = block.get("source")
    if block.get("type") == "document" and isinstance(source, dict) and source.get("type") not in ("text", "content"):
        return _DOCUMENT_TOKENS
    return 0


def _encode(body: Mapping[str, Any], body_bytes: int) -> list[bytes]:
    """Body in pieces, so that no C call or socket write handles megabytes."""
    try:
        return dump_pieces(body) if body_bytes > OFFLOAD_BYTES else [dumps(body)]
    except RecursionError:
        raise ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply.") from None


async def _iterate(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _client(credential: Credential) -> httpx2.AsyncClient:
    """Client with the CLI's credential, headers, proxies and certificates."""
    env = credential.env
    headers = {name.lower(): value for name, value in parse_custom_headers(env.get(VARIABLE, ""))}
    headers |= {VERSION_HEADER: DEFAULT_API_VERSION, "content-type": "application/json"}
    if token := env.get("ANTHROPIC_AUTH_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    if key := env.get("ANTHROPIC_API_KEY"):
        headers["x-api-key"] = key
    # `count` has a deadline for the whole request.
    return httpx2.AsyncClient(
        base_url=credential.base_url or "", headers=headers, timeout=None, limits=_LIMITS, verify=_ssl_context(env)
    )


def _ssl_context(env: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if extra := env.get("NODE_EXTRA_CA_CERTS"):
        context.load_verify_locations(extra)
    if certificate := env.get("CLAUDE_CODE_CLIENT_CERT"):
        context.load_cert_chain(
            certificate, env.get("CLAUDE_CODE_CLIENT_KEY"), env.get("CLAUDE_CODE_CLIENT_KEY_PASSPHRASE")
        )
    return context


def _json_object(response: httpx2.Response) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _upstream_error(response: httpx2.Response, answer: Mapping[str, Any]) -> ProxyError:
    said = answer.get("error")
    error: Mapping[str, Any] = said if isinstance(said, dict) else {}
    body = response.content if isinstance(said, dict) else b""
    return ProxyError(
        FailureKind.UPSTREAM_ERROR,
        str(error.get("message") or f"The upstream returned status {response.status_code}."),
        retry_after_s=_retry_after_s(response.headers.get("retry-after")),
        upstream=UpstreamError(status=response.status_code, type=str(error.get("type") or "api_error"), body=body),
    )


def _retry_after_s(text: str | None) -> float | None:
    try:
        seconds = float(text or "nan")
    except ValueError:  # a date; the API itself sends seconds
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None
