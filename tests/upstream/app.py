"""The stand-in under the control of directives, optionally with a recorder."""

import json
from collections import OrderedDict
from dataclasses import replace

from apiproxy.standin import StandIn, StandInServer
from apiproxy.standin.asgi import Application
from apiproxy.standin.errors import ERROR_TYPES, send_error
from apiproxy.standin.prompt import Body
from apiproxy.standin.responder import Responder
from apiproxy.standin.server import listen, serve
from tests.upstream.answer import directed_answer
from tests.upstream.directives import Directives, Fault, Flaky, parse
from tests.upstream.fold import whole_answer
from tests.upstream.recorder import Recorder, RecordingApp
from tests.upstream.script import current_text
from tests.upstream.stream import cut, stream_steps
from tests.upstream.threads import ThreadError, Threads

_FLAKY_KEYS = 1_024


async def start(
    host: str = "127.0.0.1", port: int = 0, *, recorder: Recorder | None = None, expose_recorder: bool = False
) -> StandInServer:
    """Start the tests' upstream.

    port: 0 for a free one. Raises OSError if it is in use.
    expose_recorder: GET and DELETE `/_recorded` read and clear the recorder.
    """
    app: Application = DirectedStandIn()
    if recorder is not None:
        app = RecordingApp(app, recorder, expose=expose_recorder)
    return await serve(app, listen(host, port))


class DirectedStandIn(StandIn):
    """Follows the directives of the prompt; without any, it is the demo."""

    def __init__(self) -> None:
        super().__init__()
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._threads = Threads()

    async def messages(self, responder: Responder, body: Body) -> None:
        try:
            body = self._threads.whole(body)
        except ThreadError as error:
            await _send_thread_error(responder, error)
            return
        directives = parse(current_text(body))
        fault = self._fault(directives)
        if await _injects_fault(responder, directives, fault):
            return
        if fault == "miderror":
            directives = replace(directives, miderror=1)
        if not directives.given:
            await super().messages(responder, body)
        elif body.get("stream"):
            await self._stream(responder, body, directives)
        else:
            await self._whole(responder, body, directives)

    async def count_tokens(self, responder: Responder, body: Body) -> None:
        directives = parse(current_text(body))
        if not await _injects_fault(responder, directives, self._fault(directives)):
            await super().count_tokens(responder, body)

    async def _stream(self, responder: Responder, body: Body, directives: Directives) -> None:
        answer = directed_answer(body, directives, self.prompt_cache)
        self._threads.keep(body, answer)
        if directives.page:
            await _send_page(responder)
        elif directives.whole:
            await responder.json(200, answer.message())
        else:
            await responder.stream(stream_steps(answer, directives))

    async def _whole(self, responder: Responder, body: Body, directives: Directives) -> None:
        answer = directed_answer(body, directives, self.prompt_cache)
        self._threads.keep(body, answer)
        if directives.headers or directives.hang or directives.midhang is not None:
            await responder.hang()
        if directives.cut is not None:
            await cut(responder)
        if directives.page:
            await _send_page(responder)
            return
        if directives.raw is not None:
            status, message = whole_answer(directives.raw)
            await responder.whole(status, json.dumps(message).encode())  # orjson rejects lone surrogates
            return
        if directives.gap_s:
            await responder.pause(directives.gap_s * sum(len(block.deltas) for block in answer.blocks))
        await responder.json(200, answer.message())

    def _fault(self, directives: Directives) -> Fault | None:
        flaky = directives.flaky
        return flaky.fault if flaky is not None and self._fails_this_time(flaky) else directives.status

    def _fails_this_time(self, flaky: Flaky) -> bool:
        seen = self._failures.get(flaky.key, 0)
        self._failures[flaky.key] = seen + 1
        if len(self._failures) > _FLAKY_KEYS:
            self._failures.popitem(last=False)
        return seen < flaky.times


async def _injects_fault(responder: Responder, directives: Directives, fault: Fault | None) -> bool:
    """Delay or fail as directed; False if an answer is still due."""
    if directives.first_s:
        await responder.pause(directives.first_s)
    if directives.silent or fault == "silent":
        await responder.hang()
    if directives.drop or fault == "drop":
        await cut(responder)
    if not isinstance(fault, int):
        return False
    await _send_directed_error(responder, fault, directives)
    return True


async def _send_thread_error(responder: Responder, error: ThreadError) -> None:
    said = {"type": ERROR_TYPES[error.status], "message": str(error), "details": {"error_code": error.code}}
    await responder.json(error.status, {"type": "error", "error": said, "request_id": responder.request_id})


async def _send_page(responder: Responder) -> None:
    await responder.whole(200, b"<html><body>Welcome to nginx!</body></html>", content_type="text/html")


async def _send_directed_error(responder: Responder, status: int, directives: Directives) -> None:
    headers = {"retry-after": directives.retry_after} if directives.retry_after is not None else {}
    headers |= dict(directives.response_headers)
    if directives.json is not None:
        await responder.whole(status, directives.json.encode(), content_type="application/json", headers=headers)
        return
    if directives.bare:
        await responder.whole(status, b"", headers=headers)
        return
    if directives.html:
        page = f"<html><body><h1>{status}</h1>{directives.message or 'nginx'}</body></html>".encode()
        await responder.whole(status, page, content_type="text/html", headers=headers)
        return
    message = directives.message or f"upstream says {status}"
    await send_error(responder, status, message, error_type=directives.type, headers=headers)
