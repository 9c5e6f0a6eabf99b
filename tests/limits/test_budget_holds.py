"""A budget of 0.30 USD is never passed, by any field of a body that carries text, twelve requests at a time.

The stand-in charges what arrives at the worst rate there is: a token for every byte.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.limits.gateways import Site, make_keys, usage
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

MODEL = "claude-sonnet-4-5"
BUDGET_USD = 0.30
PARALLEL = 12
BYTES = 60_000
"""0.18 USD at 3 USD a million tokens, and reserved with 0.225 USD: one request fits into the budget, two do not."""
ONE_USD = 0.15
"""Minimum cost of a request whose field reaches the upstream."""

pytestmark = [pytest.mark.xdist_group("limits"), pytest.mark.long]

_random = random.Random(7)
HOSTILE = "".join(chr(_random.randrange(0x4E00, 0x9FFF)) for _ in range(BYTES // 3))
PLAIN = ("word " * BYTES)[:BYTES]
USER = {"role": "user", "content": "[[say=hi]] [[out=16]] [[dense]] [[first=0.3]]"}
ANSWER = {"role": "assistant", "content": "ok"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL}


def blocks(*given: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*given]}, ANSWER, USER]}


def called(tool_input: Any, result: Any = "ok") -> dict[str, Any]:
    call = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": tool_input}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result}
    return {
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [answer]},
            ANSWER,
            USER,
        ]
    }


def tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}, **fields}]}


def text(of: str) -> dict[str, Any]:
    return {"type": "text", "text": of}


FIELDS: Mapping[str, Mapping[str, Any]] = {
    "message": {"messages": [{"role": "user", "content": PLAIN}, ANSWER, USER]},
    "message hostile": {"messages": [{"role": "user", "content": HOSTILE}, ANSWER, USER]},
    "text block": blocks(text(PLAIN)),
    "many messages": {"messages": [*[{"role": "user", "content": "x" * 20}, ANSWER] * 600, USER]},
    "system": {"system": PLAIN},
    "system block": {"system": [text(HOSTILE)]},
    "tool input image": called({"type": "image", "text": PLAIN}),
    "tool input image source": called({"type": "image", "source": {"type": "base64", "data": PLAIN}}),
    "tool input document": called({"type": "document", "source": {"type": "base64", "data": PLAIN}}),
    "tool input key": called({PLAIN: 1}),
    "tool input numbers": called({"n": [1234567890123456] * (BYTES // 17)}),
    "tool input escapes": called({"n": '"' * (BYTES // 2)}),
    "tool input nulls": called({"n": [None] * (BYTES // 5)}),
    "tool result": called({}, PLAIN),
    "tool result block": called({}, [text(HOSTILE)]),
    "tool result image field": called({}, [{"type": "image", "source": SOURCE, "alt": PLAIN}]),
    "tool result image source field": called({}, [{"type": "image", "source": {**SOURCE, "note": PLAIN}}]),
    "tool result images": called({}, [{"type": "image", "source": SOURCE}] * 12),
    "tool name": tool(name="n" * BYTES),
    "tool description": tool(description=PLAIN),
    "tool schema": tool(input_schema={"type": "object", "description": PLAIN}),
    "tool schema image": tool(input_schema={"type": "object", "x": {"type": "image", "source": {"data": PLAIN}}}),
    "tool schema enum": tool(input_schema={"type": "object", "properties": {"a": {"enum": ["ab"] * (BYTES // 5)}}}),
    "tool unknown field": tool(note=PLAIN),
    "tool choice": {**tool(), "tool_choice": {"type": "auto", "note": PLAIN}},
    "output format": {"output_format": {"type": "json_schema", "schema": {"type": "object", "description": PLAIN}}},
    "output config": {"output_config": {"format": {"type": "json_schema", "schema": {"description": PLAIN}}}},
    "metadata": {"metadata": {"user_id": "u", "note": PLAIN}},
    "mcp servers": {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": PLAIN}]},
    "container": {"container": {"id": "c", "skills": [{"type": "custom", "skill_id": PLAIN}]}},
    "stop sequences": {"stop_sequences": [PLAIN]},
    "context management": {"context_management": {"edits": [{"type": "clear", "note": PLAIN}]}},
    "document text": blocks({"type": "document", "source": {"type": "text", "data": PLAIN}}),
    "document blocks": blocks({"type": "document", "source": {"type": "content", "content": [text(PLAIN)]}}),
    "document title": blocks({"type": "document", "title": PLAIN, "source": {"type": "text", "data": "x"}}),
    "document context": blocks({"type": "document", "context": HOSTILE, "source": {"type": "text", "data": "x"}}),
    "document pdf": blocks({"type": "document", "source": {"type": "base64", "media_type": "x", "data": "JVBERi0="}}),
    "document url": blocks({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}),
    "document file": blocks({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    "image": blocks({"type": "image", "source": SOURCE, "note": PLAIN}),
    "image without source": blocks({"type": "image", "text": PLAIN}),
    "unknown block": blocks({"type": "hologram", "light": PLAIN}),
    "search result": blocks({"type": "search_result", "source": PLAIN, "title": "t", "content": [text("x")]}),
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 8, "note": PLAIN}},
    "thinking block": {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": PLAIN, "signature": "s"}, {"type": "text", "text": "ok"}]}, USER]},
    "message field": {"messages": [{"role": "user", "content": "x", "note": PLAIN}, ANSWER, USER]},
    "unknown field": {"later": {"type": "image", "source": {"data": PLAIN}}},
    "unknown field hostile": {"later": [HOSTILE]},
}  # fmt: skip
UNSEEN = {"document pdf", "document url", "document file", "mcp servers", "container"}
"""Fields that may add any amount of input: no request with one fits into this budget."""


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_MAX_CONCURRENT": "4", "CLAUDE_PROXY_WARM_WORKERS": "4"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("budget"), upstream=stand_in.base_url, env=env).start()
    keys = {name: {"budget_total_usd": str(BUDGET_USD)} for name in FIELDS}
    yield Site([gateway], make_keys(gateway, keys))
    gateway.stop()


@pytest.mark.parametrize("name", FIELDS)
async def test_hold_the_budget_against_any_field(site: Site, name: str) -> None:
    body = {"model": MODEL, "max_tokens": 16, "messages": [USER], **FIELDS[name]}
    headers = {"x-api-key": site.secrets[name]}
    limits = httpx.Limits(max_connections=PARALLEL)
    async with httpx.AsyncClient(base_url=site.first.base_url, timeout=120, limits=limits) as http:
        answers = await asyncio.gather(
            *(http.post("/v1/messages", json=body, headers=headers) for _ in range(PARALLEL))
        )
    statuses = {answer.status_code for answer in answers}

    def settled() -> float | None:
        (budget,) = usage(site.first, site.secrets[name])["budgets"]
        spent: float = budget["spent_usd"]
        return spent + 1e-9 if not budget["reserved_usd"] else None

    spent = eventually(settled, within_s=20) or 0.0
    assert spent <= BUDGET_USD + 1e-6, statuses
    assert statuses <= {200, 400, 402, 429}
    assert statuses & {402, 429}, "twelve do not fit"
    if name in UNSEEN:
        assert statuses == {402}
    elif name != "metadata":  # not read by the model
        assert 200 in statuses
        assert spent >= ONE_USD, "the field did not arrive"
