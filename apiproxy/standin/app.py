"""ASGI application that answers like the Messages API."""

from typing import Any

import orjson

from apiproxy.standin import prompt
from apiproxy.standin.answer import compose
from apiproxy.standin.asgi import Receive, Scope, Send
from apiproxy.standin.errors import send_error
from apiproxy.standin.responder import Responder, ResponseEndedError
from apiproxy.standin.scenarios import demo
from apiproxy.standin.script import ChooseScript, ScriptedError, stream_steps
from apiproxy.standin.usage import PromptCache, count_tokens

_MODELS = {
    "claude-opus-5-5": "Claude Opus 5.5",
    "claude-sonnet-5-5": "Claude Sonnet 5.5",
    "claude-haiku-5-5": "Claude Haiku 5.5",
}
_CREATED_AT = "2026-01-01T00:00:00Z"


class StandIn:
    """The stand-in's application.

    choose_script: called with each valid Messages body. pace_s: seconds between the deltas of a stream.
    """

    def __init__(self, choose_script: ChooseScript = demo, *, pace_s: float = 0.0) -> None:
        self.prompt_cache = PromptCache()
        self._choose_script = choose_script
        self._pace_s = pace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the stand-in supports only HTTP, not {scope['type']}")
        raw = await read_body(receive)
        if raw is None:
            return
        body = _json_or_none(raw)
        async with Responder(receive, send) as responder:
            try:
                await self._route(responder, scope, body)
            except ResponseEndedError:
                pass
            except prompt.InvalidRequestError as error:
                await send_error(responder, 400, str(error))
            except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
                # Fields are not all validated before they are used; the API would reject these too.
                if responder.started:
                    raise
                await send_error(responder, 400, f"The stand-in cannot read this request: {type(error).__name__}")

    async def messages(self, responder: Responder, body: prompt.Body) -> None:
        """Answer `POST /v1/messages`."""
        script = self._choose_script(body)
        if script.error is not None:
            await _send_scripted_error(responder, script.error)
            return
        answer = compose(body, script.blocks, self.prompt_cache.input_usage(body))
        if body.get("stream"):
            steps = stream_steps(answer, delta_pause_s=self._pace_s, stall_after=script.stall_after)
            await responder.stream(steps)
            return
        if script.stall_after is not None:
            await responder.hang()
        await responder.json(200, answer.message())

    async def count_tokens(self, responder: Responder, body: prompt.Body) -> None:
        """Answer `POST /v1/messages/count_tokens`."""
        await responder.json(200, {"input_tokens": count_tokens(body)})

    async def _route(self, responder: Responder, scope: Scope, body: Any) -> None:
        match scope["method"], scope["path"].rstrip("/").split("/")[1:]:
            case "POST", ["v1", "messages"]:
                await self.messages(responder, prompt.validate(body))
            case "POST", ["v1", "messages", "count_tokens"]:
                await self.count_tokens(responder, prompt.validate(body, counting=True))
            case "GET", ["v1", "models"]:
                models = [_model(model_id) for model_id in _MODELS]
                ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"], "has_more": False}
                await responder.json(200, {"data": models, **ends})
            case "GET", ["v1", "models", model_id] if model_id in _MODELS:
                await responder.json(200, _model(model_id))
            case _, ["v1", "messages"] | ["v1", "messages", "count_tokens"] | ["v1", "models"]:
                await send_error(responder, 405, "Method Not Allowed")
            case _:
                await send_error(responder, 404, "Not Found")


async def read_body(receive: Receive) -> bytes | None:
    """Read a request's body; None if the client disconnects first."""
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
    return {"type": "model", "id": model_id, "display_name": _MODELS[model_id], "created_at": _CREATED_AT}


async def _send_scripted_error(responder: Responder, error: ScriptedError) -> None:
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    await send_error(responder, error.status, error.message, headers=headers)
