"""One real turn through the engine, without the server (`doctor --live`)."""

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from apiproxy import standin
from apiproxy.conf import Credential, GatewaySettings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import new_id
from apiproxy.engines.base import AnswerSource, Broken, EngineRequest
from apiproxy.runs.engines import Engines

LIVE_TIMEOUT_S = 120.0
_MAX_TOKENS = 1024
_PROMPT = "Reply with the single word: ready"


async def live_turn(settings: GatewaySettings, model: str) -> str:
    """Text of the answer, from an engine of its own: the one in the settings.

    In demo mode the upstream is a stand-in of its own. Raises ProxyError: errors of the upstream or the engine, and
    MAX_DURATION after LIVE_TIMEOUT_S.
    """
    try:
        async with asyncio.timeout(LIVE_TIMEOUT_S):
            if settings.credential.kind != "demo":
                return await _turn(settings, model)
            server = await standin.start()
            try:
                env = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": "demo"}
                credential = Credential(kind="demo", env=env, base_url=server.base_url)
                return await _turn(replace(settings, credential=credential), model)
            finally:
                await server.close()
    except TimeoutError as error:
        raise ProxyError(FailureKind.MAX_DURATION, f"No answer within {LIVE_TIMEOUT_S:.0f} s.") from error


async def _turn(settings: GatewaySettings, model: str) -> str:
    with tempfile.TemporaryDirectory(prefix=f"doctor-{os.getpid()}-", dir=settings.state_dir) as folder:
        engines = Engines(replace(settings, state_dir=Path(folder), max_concurrent=1, warm_workers=0))
        try:
            return await _ask(engines.get(settings.engine).engine, model)
        finally:
            await engines.close()


async def _ask(engine: AnswerSource, model: str) -> str:
    body = {"max_tokens": _MAX_TOKENS, "messages": [{"role": "user", "content": _PROMPT}]}
    answer = await engine.begin(EngineRequest(run_id=new_id("req_"), model=model, body=body))
    pieces: list[str] = []
    try:
        while (batch := await answer.next_batch()) is not None:
            deltas = [event["delta"] for event in batch.events if event["type"] == "content_block_delta"]
            pieces += [delta["text"] for delta in deltas if delta["type"] == "text_delta"]
        outcome = answer.outcome
    finally:
        await answer.release()
    if isinstance(outcome, Broken):
        raise outcome.error
    return "".join(pieces)
