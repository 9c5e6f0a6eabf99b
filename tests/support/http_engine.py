"""The http engine on the test's own loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from apiproxy.core.events import StreamEvent
from apiproxy.engines.base import Answer, EngineRequest, Outcome
from apiproxy.engines.http.engine import HttpEngine
from apiproxy.engines.http.upstream import Upstream
from tests.support.engine import MODEL, body_of, mark

_END_S = 20.0


def http_request(prompt: str = "hello", *, stream: bool = True, verbatim: bool = True, **fields: Any) -> EngineRequest:
    """The request of a client, its body as received. Fields of EngineRequest may be given."""
    body = {**body_of(prompt), "stream": stream}
    raw = orjson.dumps(body)
    settings = {"run_id": mark(), "model": MODEL, "body": body, "body_bytes": len(raw), "raw_body": raw}
    return EngineRequest(**{**settings, "stream": stream, "verbatim": verbatim, **fields})


@contextlib.asynccontextmanager
async def http_engine(
    base_url: str, env: Mapping[str, str] | None = None, *, max_connections: int = 20
) -> AsyncIterator[HttpEngine]:
    """An engine in front of that upstream. It must leave no task behind."""
    before = asyncio.all_tasks()
    credential = {"ANTHROPIC_API_KEY": "sk-operator", **(env or {})}
    engine = HttpEngine(Upstream(base_url, credential, max_connections=max_connections))
    try:
        yield engine
        left = [task for task in asyncio.all_tasks() - before if "upstream request" in task.get_name()]
        assert not left, left
    finally:
        await engine.close()


@dataclass(slots=True)
class HttpPlayed:
    """A turn that is over and released."""

    outcome: Outcome
    raw: bytes = b""
    events: list[StreamEvent] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)


async def play_http(engine: HttpEngine, request: EngineRequest) -> HttpPlayed:
    """A whole turn."""
    return await finish_http(await engine.begin(request))


async def finish_http(answer: Answer) -> HttpPlayed:
    """The rest of a turn."""
    raw, events = b"", list[StreamEvent]()
    try:
        async with asyncio.timeout(_END_S):
            while (batch := await answer.next_batch()) is not None:
                raw += batch.raw
                events += batch.events
        return HttpPlayed(answer.outcome, raw, events, answer.headers)
    finally:
        await answer.release()
