"""The application: an ASGI 3 callable that answers like the Messages API."""

from collections import OrderedDict
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import orjson

from apiproxy.standin import prompt
from apiproxy.standin.answer import compose
from apiproxy.standin.asgi import Receive, Scope, Send
from apiproxy.standin.directives import DirectiveError, Directives, Flaky, parse
from apiproxy.standin.recorder import Exchange, Recorder
from apiproxy.standin.responder import ClientGoneError, Responder
from apiproxy.standin.script import play
from apiproxy.standin.usage import PromptCache, count_tokens

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The API's documented error types; any other status is an `api_error`."""

MODELS = {
    "claude-opus-5-5": "Claude Opus 5.5",
    "claude-sonnet-5-5": "Claude Sonnet 5.5",
    "claude-haiku-5-5": "Claude Haiku 5.5",
}
_CREATED_AT = "2026-01-01T00:00:00Z"
_FLAKY_KEYS = 1_024


class StandIn:
    """The stand-in as an ASGI application.

    recorder: keeps what comes in; with expose_recorder it can be read and cleared at `/_recorded` too.
    pace_s: seconds between the deltas of demo answers, for the look of it.
    """

    def __init__(self, *, recorder: Recorder | None = None, expose_recorder: bool = False, pace_s: float = 0.0) -> None:
        self._recorder = recorder
        self._exposed = recorder if expose_recorder else None
        self._pace_s = pace_s
        self._cache = PromptCache()
        self._failures: OrderedDict[str, int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise ValueError(f"the stand-in speaks HTTP alone, not {scope['type']}")
        raw = await _read_body(receive)
        if raw is None:
            return
        body = _json_or_none(raw)
        exchange = None
        if self._recorder is not None and not scope["path"].startswith("/_"):
            exchange = self._recorder.begin(scope, raw)
        async with Responder(scope, receive, send, exchange) as responder:
            try:
                await self._route(responder, scope, body)
            except ClientGoneError:
                pass
            except (prompt.InvalidRequestError, DirectiveError) as error:
                await _error(responder, 400, str(error))
            except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
                # It does not look at every field before it uses it; the API would, and refuse the same.
                if responder.started:
                    raise
                await _error(responder, 400, f"The stand-in makes nothing of this request: {type(error).__name__}")

    async def _route(self, responder: Responder, scope: Scope, body: Any) -> None:
        match scope["method"], scope["path"].rstrip("/").split("/")[1:]:
            case "POST", ["v1", "messages"]:
                await self._messages(responder, prompt.validate(body))
            case "POST", ["v1", "messages", "count_tokens"]:
                await self._count_tokens(responder, prompt.validate(body, counting=True))
            case "GET", ["v1", "models"]:
                models = [_model(model_id) for model_id in MODELS]
                ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"], "has_more": False}
                await responder.json(200, {"data": models, **ends})
            case "GET", ["v1", "models", model_id] if model_id in MODELS:
                await responder.json(200, _model(model_id))
            case "GET", ["_recorded"] if self._exposed is not None:
                query = dict(parse_qsl(scope["query_string"]))
                found = self._exposed.since(int(query.get(b"since", 0)), containing=query.get(b"containing", b""))
                if b"open" in query:
                    found = [exchange for exchange in found if exchange.ended_at is None]
                await responder.json(200, [{**asdict(it), "raw": it.raw.decode(errors="replace")} for it in found])
            case "DELETE", ["_recorded"] if self._exposed is not None:
                self._exposed.clear()
                await responder.json(200, {})
            case _, ["v1", "messages"] | ["v1", "messages", "count_tokens"] | ["v1", "models"]:
                await _error(responder, 405, "Method Not Allowed")
            case _:
                await _error(responder, 404, "Not Found")

    async def _messages(self, responder: Responder, body: prompt.Body) -> None:
        directives = parse(prompt.last_user_text(body))
        if await self._misbehaves(responder, directives):
            return
        answer = compose(body, directives, self._cache)
        gap_s = 0.0 if directives.given else self._pace_s
        if body.get("stream"):
            if directives.page:
                await responder.whole(200, b"<html><body>Welcome to nginx!</body></html>", content_type="text/html")
            elif directives.whole:
                await responder.json(200, answer.message())
            else:
                steps = play(answer, directives, gap_s=gap_s)
                await responder.stream(steps, split=directives.split, drip_s=directives.drip_s)
            return
        if directives.hang or directives.midhang is not None:
            await responder.hang()
        if directives.cut is not None:
            await responder.cut()
        if directives.gap_s:
            await responder.pause(directives.gap_s * sum(len(block.deltas) for block in answer.blocks))
        await responder.json(200, answer.message())

    async def _count_tokens(self, responder: Responder, body: prompt.Body) -> None:
        if not await self._misbehaves(responder, parse(prompt.last_user_text(body))):
            await responder.json(200, {"input_tokens": count_tokens(body)})

    async def _misbehaves(self, responder: Responder, directives: Directives) -> bool:
        """Waits where that was asked for, and fails where that was; False where an answer is still due."""
        if directives.first_s:
            await responder.pause(directives.first_s)
        flaky = directives.flaky
        fault = flaky.fault if flaky is not None and self._fails_this_time(flaky) else directives.status
        if directives.silent or fault == "silent":
            await responder.hang()
        if directives.drop or fault == "drop":
            await responder.cut()
        if not isinstance(fault, int):
            return False
        await _directed_error(responder, fault, directives)
        return True

    def _fails_this_time(self, flaky: Flaky) -> bool:
        seen = self._failures.get(flaky.key, 0)
        self._failures[flaky.key] = seen + 1
        if len(self._failures) > _FLAKY_KEYS:
            self._failures.popitem(last=False)
        return seen < flaky.times


async def _read_body(receive: Receive) -> bytes | None:
    """The request's body; None where the client left before it was complete."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _json_or_none(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _model(model_id: str) -> dict[str, str]:
    return {"type": "model", "id": model_id, "display_name": MODELS[model_id], "created_at": _CREATED_AT}


async def _directed_error(responder: Responder, status: int, directives: Directives) -> None:
    headers = {"retry-after": directives.retry_after} if directives.retry_after is not None else {}
    if directives.bare:
        await responder.whole(status, b"", headers=headers)
        return
    if directives.html:
        page = f"<html><body><h1>{status}</h1>{directives.message or 'nginx'}</body></html>".encode()
        await responder.whole(status, page, content_type="text/html", headers=headers)
        return
    message = directives.message or f"upstream says {status}"
    await _error(responder, status, message, error_type=directives.type, headers=headers)


async def _error(
    responder: Responder,
    status: int,
    message: str,
    *,
    error_type: str | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    error = {"type": error_type or ERROR_TYPES.get(status, "api_error"), "message": message}
    await responder.json(status, {"type": "error", "error": error, "request_id": responder.request_id}, headers=headers)


__all__ = ["ERROR_TYPES", "MODELS", "Exchange", "StandIn"]
