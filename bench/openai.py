"""The gateway asked in the OpenAI dialect, and what that costs beside the other one."""

import asyncio
import json
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import orjson

from bench import questions
from bench.client import Connections
from bench.contestants import ANSWER_TIMEOUT_S, Contestant, Took, processor_time_s
from bench.measure import Entry, Measurement, Samples, alternate
from bench.questions import MODEL, SYSTEM, Question
from bench.sse import BadAnswerError
from bench.stage import Stage
from bench.stats import Line, milliseconds, percentile, ratio
from tests.support.gateway import GatewayProcess

FIRST_DELTA = b'"delta":{"content":'
_END = b"data: [DONE]"


class OpenAIContestant:
    """A gateway that is asked by Chat Completions. For questions of plain text."""

    def __init__(self, gateway: GatewayProcess) -> None:
        address = urlsplit(gateway.base_url)
        assert address.hostname is not None
        assert address.port is not None
        self._connections = Connections(address.hostname, address.port, first_delta=FIRST_DELTA)
        self._headers = {"authorization": f"Bearer {gateway.api_key}", "content-type": "application/json"}
        self._pid = gateway.pid

    async def ask(self, question: Question) -> Took:
        """Asks over HTTP."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reply = await self._connections.post("/v1/chat/completions", chat_body(question), headers=self._headers)
        if reply.status != 200:
            raise BadAnswerError(f"status {reply.status}: {reply.body[:500]!r}")
        if not question.stream:
            question.check(orjson.loads(reply.body)["choices"][0]["message"]["content"])
            return Took(reply.total_s)
        question.check(text_of_chunks(reply.body))
        return Took(reply.total_s, reply.first_delta_s)

    def cpu_s(self) -> Mapping[str, float]:
        """Processor time of the server's own process and of its workers."""
        return processor_time_s(self._pid)

    def close(self) -> None:
        """Closes its connections."""
        self._connections.close()


def chat_body(question: Question) -> bytes:
    """The question for Chat Completions."""
    messages = [{"role": "system", "content": SYSTEM}, *question.messages]
    return json.dumps({"model": MODEL, "max_tokens": 32_000, "messages": messages, "stream": question.stream}).encode()


def text_of_chunks(stream: bytes) -> str:
    """The text of a stream. Raises BadAnswerError for an error in it and for a missing end."""
    *events, end, rest = stream.split(b"\n\n")
    if end != _END or rest:
        raise BadAnswerError(f"the stream has no end after {len(events)} events")
    chunks = [orjson.loads(event.partition(b"data: ")[2]) for event in events if event.startswith(b"data: ")]
    if failed := [chunk for chunk in chunks if "error" in chunk]:
        raise BadAnswerError(f"the stream failed: {failed[0]}")
    return "".join([chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks])


async def openai_dialect(stage: Stage) -> Line:
    """The OpenAI dialect beside the Anthropic one, on the same gateway: first token, and events of one long stream."""
    openai = OpenAIContestant(stage.gateway)
    sides: dict[str, Contestant] = {"openai": openai, "anthropic": stage.ours}
    sizes = stage.sizes
    short, long = questions.short(), questions.short(deltas=sizes.stream_deltas)
    try:
        first = await _measured(sides, short, _first_token, times=sizes.per_round, rounds=sizes.rounds)
        streams = await _measured(sides, long, _total, times=1, rounds=sizes.stream_rounds)
    finally:
        openai.close()
    delay_ms = {name: milliseconds(taken.values) for name, taken in first.items()}
    rates = {name: sizes.stream_deltas / percentile(taken.values, 0.5) for name, taken in streams.items()}
    return {
        "unit": "ms, events/s",
        "first_token": {
            **delay_ms,
            "added": round(delay_ms["openai"]["median"] - delay_ms["anthropic"]["median"], 2),
            "cpu_ms_per_request": {name: taken.cpu_ms_per_request() for name, taken in first.items()},
        },
        "events": {
            **{name: round(rate) for name, rate in rates.items()},
            "cpu_ms_per_stream": {name: taken.cpu_ms_per_request() for name, taken in streams.items()},
        },
        "ratio_openai_over_anthropic": ratio(rates["openai"], rates["anthropic"]),
    }


async def _measured(
    sides: Mapping[str, Contestant],
    question: Question,
    seconds: Callable[[Took], float | None],
    *,
    times: int,
    rounds: int,
) -> dict[str, Samples]:
    def measurement_of(contestant: Contestant) -> Measurement:
        async def measurement() -> float:
            value = seconds(await contestant.ask(question))
            assert value is not None, "a stream with a text has a first token"
            return value

        return measurement

    entries = {name: Entry(contestant=it, measurement=measurement_of(it), times=times) for name, it in sides.items()}
    return await alternate(entries, rounds=rounds)


def _first_token(took: Took) -> float | None:
    return took.first_token_s


def _total(took: Took) -> float | None:
    return took.total_s
