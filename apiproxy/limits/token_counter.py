"""Token counting by the upstream's endpoint or a local estimate."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.conf import Credential
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_encoding import dump_pieces, dumps
from apiproxy.core.offload import OFFLOAD_BYTES, offload
from apiproxy.core.turns import DEFAULT_API_VERSION
from apiproxy.core.upstream_headers import VERSION_HEADER
from apiproxy.engines.http.errors import LOST, error_of_response, lost_connection
from apiproxy.engines.http.frames import parse_json
from apiproxy.engines.http.payload import response_headers
from apiproxy.engines.http.upstream import Upstream, whole_body

COUNT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0

_MISSING_ENDPOINT_STATUSES = (404, 405, 501)
_SUCCESS = range(200, 300)
_MAX_CONNECTIONS = 100
_MAX_ANSWER_BYTES = 1024 * 1024

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
        self._upstream: Upstream | None = None

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
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(pieces, headers or {}, beta_api=beta_api)
        except TimeoutError as error:
            raise ProxyError(FailureKind.STALL, "The upstream timed out counting the tokens.") from error
        except LOST as error:
            raise lost_connection(error)[0] from error
        value = parse_json(answer.body)
        found: Mapping[str, Any] = value if isinstance(value, dict) else {}
        # A gateway with /v1/messages only; the API's own 404 has an error object.
        if answer.status in _MISSING_ENDPOINT_STATUSES and "error" not in found:
            return None
        if answer.status not in _SUCCESS:
            raise error_of_response(answer.status, answer.body, answer.headers)
        count = found.get("input_tokens")
        if not isinstance(count, int):
            raise ProxyError(FailureKind.CONNECTION_LOST, "The upstream returned no token count.")
        return count

    async def aclose(self) -> None:
        """Close the connections. May be called twice; a later count opens new ones."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await upstream.close()

    async def _ask(self, pieces: Sequence[bytes], headers: Mapping[str, str], *, beta_api: bool) -> "_Answer":
        if self._upstream is None:
            env = self.credential.env
            self._upstream = Upstream(self.credential.base_url or "", env, max_connections=_MAX_CONNECTIONS)
        response = await self._upstream.post(
            "/v1/messages/count_tokens?beta=true" if beta_api else "/v1/messages/count_tokens",
            headers={
                VERSION_HEADER: DEFAULT_API_VERSION,
                **headers,
                "content-type": "application/json",
                "content-length": str(sum(map(len, pieces))),
            },
            pieces=pieces,
            on_sent=lambda: None,
        )
        try:
            body = await whole_body(response, limit=_MAX_ANSWER_BYTES)
            return _Answer(response.status, body or b"", response_headers(response.headers))
        finally:
            response.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    """Response of the upstream. headers: those for the client."""

    status: int
    body: bytes
    headers: Mapping[str, str]


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
