"""No request holds a word of another, however they interleave: a hundred of four keys, eight at a time, each engine."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from apiproxy.core.turns import ENGINES, EngineName
from apiproxy.engines.sdk.overlay import IDENTITY_BLOCK
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.upstream import Exchange

REQUESTS = 100
AT_ONCE = 8
KEYS = [f"key {number}" for number in range(4)]
MODEL = "claude-sonnet-5-5"

EVERYWHERE = frozenset({"text", "history", "system", "metadata", "unknown", "tool", "beta"})
PARTS = (EVERYWHERE, frozenset({"text"}), frozenset({"text", "system", "beta"}), frozenset({"text", "unknown", "tool"}))
"""What a request carries beside its prompt. Full and bare ones alternate, so that what stayed of one would show."""


@dataclass(frozen=True)
class Asked:
    """One request with sentinels of its own, and what came back."""

    run: str
    number: int

    @property
    def parts(self) -> frozenset[str]:
        return PARTS[self.number // len(KEYS) % len(PARTS)]

    @property
    def key(self) -> str:
        return KEYS[self.number % len(KEYS)]

    @property
    def stream(self) -> bool:
        return self.number % 3 == 0

    @property
    def refused(self) -> bool:
        """The upstream answers with an error that repeats the prompt's sentinel."""
        return self.number % 9 == 1

    @property
    def cut_short(self) -> bool:
        """The answer ends in a way that costs its worker."""
        return self.number % 20 == 2

    def sentinel(self, part: str) -> str:
        return f"{self.run}-{self.number}-{part}"

    @property
    def sentinels(self) -> set[str]:
        return {self.sentinel(part) for part in self.parts}

    @property
    def prompt(self) -> str:
        said = self.sentinel("text")
        if self.refused:
            return f"[[status=400]] [[message={said}]]"
        return f"{said} [[echo]] [[gap=0.01]]{' [[stop=max_tokens]]' if self.cut_short else ''}"

    @property
    def headers(self) -> dict[str, str]:
        return {"anthropic-beta": self.sentinel("beta")} if "beta" in self.parts else {}

    @property
    def body(self) -> dict[str, Any]:
        history = [
            {"role": "user", "content": self.sentinel("history")},
            {"role": "assistant", "content": [{"type": "text", "text": self.sentinel("history")}]},
        ]
        fields: dict[str, Any] = {
            "system": self.sentinel("system"),
            "metadata": {"user_id": self.sentinel("metadata")},
            "unknown": {"of_tomorrow": [self.sentinel("unknown")]},
            "tool": [{"name": self.sentinel("tool"), "input_schema": {"type": "object"}}],
        }
        given = {{"tool": "tools"}.get(part, part): value for part, value in fields.items() if part in self.parts}
        messages = [*(history if "history" in self.parts else []), {"role": "user", "content": self.prompt}]
        return {"model": MODEL, "max_tokens": 100, "messages": messages, "stream": self.stream, **given}

    def upstream_body(self, engine: EngineName) -> dict[str, Any]:
        """The body that the upstream is to get."""
        if engine == "http":
            return self.body
        said = [{"type": "text", "text": self.sentinel("system")}] if "system" in self.parts else []
        return {"tools": [], "metadata": {}, **self.body, "stream": True, "system": [IDENTITY_BLOCK, *said]}


def answer_text(response: httpx.Response) -> str:
    """The text of an answer, or the message of an error."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        answer = response.json()
        if response.status_code != 200:
            return str(answer["error"]["message"])
        return "".join(block["text"] for block in answer["content"])
    events = [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line.startswith("data")]
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


async def ask_all(
    gateway: GatewayProcess, secrets: Mapping[str, str], asked: list[Asked]
) -> list[tuple[Asked, httpx.Response]]:
    """Every request, so many at once; each with its answer."""
    free = asyncio.Semaphore(AT_ONCE)

    async def ask(client: httpx.AsyncClient, one: Asked) -> tuple[Asked, httpx.Response]:
        headers = {"x-api-key": secrets[one.key], **one.headers}
        async with free:
            return one, await client.post("/v1/messages", json=one.body, headers=headers)

    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=120) as client:
        return await asyncio.gather(*(ask(client, one) for one in asked))


@dataclass(frozen=True)
class Served:
    """A gateway with an engine, and the secrets of KEYS."""

    engine: EngineName
    gateway: GatewayProcess
    secrets: Mapping[str, str]


@pytest.fixture(scope="module", params=ENGINES)
def served(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    if request.param == "sdk":
        yield Served("sdk", request.getfixturevalue("gateway"), request.getfixturevalue("secrets"))
        return
    env = {"CLAUDE_PROXY_ENGINE": "http"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("isolation"), upstream=stand_in.base_url, env=env).start()
    yield Served("http", gateway, make_keys(gateway, {name: {} for name in KEYS}))
    gateway.stop()


@pytest.fixture
def run() -> str:
    """Prefix of all sentinels of one test."""
    return f"sentinel-{uuid.uuid4().hex}"


def found_in(text: str, run: str) -> set[str]:
    """All sentinels in a text."""
    return set(re.findall(rf"{run}-\d+-[a-z]+", text))


def wire_of(exchange: Exchange) -> str:
    """All that the upstream was sent: line, headers and body."""
    return f"{exchange.path}?{exchange.query} {json.dumps(dict(exchange.headers))} {exchange.raw.decode()}"


async def test_keep_words_of_requests_and_answers_apart(served: Served, stand_in: StandInProcess, run: str) -> None:
    asked = [Asked(run, number) for number in range(REQUESTS)]

    answers = await ask_all(served.gateway, served.secrets, asked)

    for one, response in answers:
        assert response.status_code == (400 if one.refused else 200), response.text
        text = answer_text(response)
        assert text == (one.sentinel("text") if one.refused else one.prompt)
        assert found_in(f"{response.headers} {response.text}", run) == {one.sentinel("text")}
    exchanges = stand_in.recorded(containing=run)
    by_number = {it.body["messages"][-1]["content"]: it for it in exchanges}
    assert len(exchanges) == len(by_number) == REQUESTS, "no request is asked twice, none is lost"
    for one in asked:
        exchange = by_number[one.prompt]
        assert found_in(wire_of(exchange), run) == one.sentinels
        assert exchange.body == one.upstream_body(served.engine)
        assert exchange.headers.get("anthropic-beta") == one.headers.get("anthropic-beta")


async def test_send_no_gateway_key_upstream(served: Served, stand_in: StandInProcess, run: str) -> None:
    answers = await ask_all(served.gateway, served.secrets, [Asked(run, number) for number in (0, 5, 6, 11)])

    assert {response.status_code for _, response in answers} == {200}
    sent = " ".join(wire_of(exchange) for exchange in stand_in.recorded(containing=run))
    assert found_in(sent, run)
    assert not [secret for secret in (served.gateway.api_key, *served.secrets.values()) if secret in sent]
