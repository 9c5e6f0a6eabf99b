"""The `http` engine: each turn is one request on a pooled connection to the upstream."""

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.offload import offload
from apiproxy.core.turns import EngineName
from apiproxy.engines.base import EngineRequest, WorkerSnapshot
from apiproxy.engines.http.answer import HttpAnswer
from apiproxy.engines.http.payload import request_body
from apiproxy.engines.http.upstream import Upstream


class HttpEngine:
    """The `engines.base.Engine` without processes. It has no state but its connections."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._closing = False

    @property
    def name(self) -> EngineName:
        return "http"

    async def warm(self) -> bool:
        return True

    @property
    def ready(self) -> bool:
        return not self._closing

    def snapshot(self) -> list[WorkerSnapshot]:
        return []

    def retire(self, worker_id: str) -> bool:
        return False

    async def begin(self, request: EngineRequest) -> HttpAnswer:
        """Send the request. Returns at once: a failed connection shows in the answer."""
        if self._closing:
            raise ProxyError(FailureKind.DRAINING, "The gateway is shutting down.")
        try:
            pieces = await offload(request.body_bytes, request_body, request)
        except RecursionError:
            raise ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply.") from None
        if not request.may_begin():
            raise ProxyError(FailureKind.CANCELLED, "The request was cancelled.")
        answer = HttpAnswer(request, self._upstream, pieces)
        answer.start()
        return answer

    async def close(self) -> None:
        """Close all connections."""
        self._closing = True
        await self._upstream.close()
