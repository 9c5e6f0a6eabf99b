"""The real engine on the test's own event loop: a pool of bundled CLIs in front of the stand-in.

Tests that share `pool` run on their module's loop: `pytestmark = pytest.mark.asyncio(loop_scope="module")`. Not on the
session's: that one stands still while other modules run, and what the pool had begun would be too late afterwards.
"""

import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from apiproxy.core.events import StreamEvent
from apiproxy.core.turns import DEFAULT_API_VERSION
from apiproxy.engines.base import Answer, EngineRequest, Outcome
from apiproxy.engines.sdk.launch import LaunchSpec, bundled_cli
from apiproxy.engines.sdk.pool import Pool, PoolLimits
from tests.support.stand_in import StandInProcess

MODEL = "claude-sonnet-4-5"


def mark() -> str:
    """A text of the test's own, to find its requests at the stand-in."""
    return f"mark-{uuid.uuid4().hex}"


def body_of(prompt: str, **fields: Any) -> dict[str, Any]:
    """A small Messages body around a prompt."""
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **fields}


def engine_request(
    prompt: str,
    *,
    betas: tuple[str, ...] = (),
    api_version: str = DEFAULT_API_VERSION,
    headers: Mapping[str, str] | None = None,
    key_id: int | None = None,
    **fields: Any,
) -> EngineRequest:
    """The prompt as the engine wants it."""
    return EngineRequest(
        run_id=mark(),
        key_id=key_id,
        model=MODEL,
        body=body_of(prompt, **fields),
        betas=betas,
        api_version=api_version,
        headers=headers or {},
    )


def pool_in(
    folder: Path,
    *,
    upstream: str,
    cli: Path | None = None,
    env: Mapping[str, str] | None = None,
    max_busy: int = 4,
    spares: int = 1,
    max_turns: int = 100_000,
    max_rss_bytes: int = 2**40,
) -> Pool:
    """A pool that has started nothing yet; the caller closes it. env: for the workers."""
    credential = {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": upstream, **(env or {})}
    spec = LaunchSpec(
        cli=cli or bundled_cli(),
        folders=folder,
        max_duration_ms=600_000,
        stall_timeout_ms=120_000,
        credential_env=credential,
    )
    limits = PoolLimits(max_busy=max_busy, spares=spares, max_turns=max_turns, max_rss_bytes=max_rss_bytes)
    return Pool(spec=spec, limits=limits)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """A warm pool in front of `stand_in`, for all tests that leave no worker behind."""
    shared = pool_in(tmp_path_factory.mktemp("workers"), upstream=stand_in.base_url)
    assert await shared.warm()
    yield shared
    await shared.close()


@dataclass(slots=True)
class Played:
    """A turn that is over and whose worker is settled."""

    outcome: Outcome
    pid: int
    events: list[StreamEvent] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text deltas, joined."""
        return text_of(self.events)


def text_of(events: list[StreamEvent]) -> str:
    """The text deltas, joined."""
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


async def play(engine: Pool, request: EngineRequest) -> Played:
    """A whole turn, settled."""
    answer = await engine.begin(request)
    return await finish(answer)


async def finish(answer: Answer) -> Played:
    """Outcome of a turn's remaining events, settled."""
    events: list[StreamEvent] = []
    try:
        while (batch := await answer.next_batch()) is not None:
            events += batch.events
        return Played(answer.outcome, answer.pid or 0, events)
    finally:
        await answer.release()
