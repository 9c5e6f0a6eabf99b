"""One real turn through the engine, without the server (`doctor --live`)."""

import asyncio
import os
import tempfile
from pathlib import Path

from apiproxy import standin
from apiproxy.conf import GatewaySettings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import new_id
from apiproxy.engines.base import Broken, EngineRequest
from apiproxy.engines.sdk.launch import LaunchSpec, bundled_cli
from apiproxy.engines.sdk.pool import Pool, PoolLimits

LIVE_TIMEOUT_S = 120.0
_MEGABYTE = 1024 * 1024
_MAX_TOKENS = 1024
_PROMPT = "Reply with the single word: ready"


async def live_turn(settings: GatewaySettings, model: str) -> str:
    """Text of the answer, from a worker of its own.

    In demo mode the upstream is a stand-in of its own. Raises ProxyError: errors of the upstream or the engine, and
    MAX_DURATION after LIVE_TIMEOUT_S.
    """
    try:
        async with asyncio.timeout(LIVE_TIMEOUT_S):
            if settings.credential.kind != "demo":
                return await _turn(settings, model, settings.credential.env)
            server = await standin.start()
            try:
                return await _turn(
                    settings, model, {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": "demo"}
                )
            finally:
                await server.close()
    except TimeoutError as error:
        raise ProxyError(FailureKind.MAX_DURATION, f"No answer within {LIVE_TIMEOUT_S:.0f} s.") from error


async def _turn(settings: GatewaySettings, model: str, credential_env: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix=f"doctor-{os.getpid()}-", dir=settings.state_dir) as folder:
        pool = Pool(
            spec=LaunchSpec(
                cli=bundled_cli(),
                folders=Path(folder),
                max_duration_ms=settings.max_duration_ms,
                stall_timeout_ms=settings.stall_timeout_ms,
                credential_env=credential_env,
            ),
            limits=PoolLimits(
                max_busy=1,
                spares=0,
                max_turns=settings.worker_max_turns,
                max_rss_bytes=settings.worker_max_rss_mb * _MEGABYTE,
            ),
        )
        try:
            return await _ask(pool, model)
        finally:
            await pool.close()


async def _ask(pool: Pool, model: str) -> str:
    body = {"max_tokens": _MAX_TOKENS, "messages": [{"role": "user", "content": _PROMPT}]}
    answer = await pool.begin(EngineRequest(run_id=new_id("req_"), model=model, body=body))
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
