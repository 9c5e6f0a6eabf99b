"""Clients, as they are: most read their answer, some leave, some read slowly."""

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench.client import MESSAGES_DELTA, Connection, Connections, Reply
from bench.openai import FIRST_DELTA, text_of_chunks
from bench.soak.mix import Manner, Request
from bench.sse import BadAnswerError, events_of, text_of_events, text_of_message

ANSWER_TIMEOUT_S = 120.0
"""Longer than any wait for a slot and any answer of the mix, on a machine of whatever speed."""
_LEAVES_AFTER_S = 0.1
_READ_PAUSE_S = 0.02
_SLOW_BUFFER_BYTES = 16 * 1024
_MAX_WRONG = 20


@dataclass(slots=True)
class Tally:
    """Outcomes of requests. counts: by `kind/outcome`; first_s: to the first token, without the wait for a slot."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    not_sent: int = 0

    def sent(self, kind: str | None = None) -> int:
        """Number of requests sent, of that kind or of all."""
        return sum(count for (name, _), count in self.counts.items() if kind in (None, name))

    def of(self, outcome: str) -> int:
        """Number of requests with that outcome."""
        return sum(count for (_, ended), count in self.counts.items() if ended == outcome)

    def outcomes(self) -> dict[str, int]:
        """Number of requests by outcome."""
        summed: Counter[str] = Counter()
        for (_, outcome), count in self.counts.items():
            summed[outcome] += count
        return dict(sorted(summed.items()))

    def note_wrong(self, kind: str, reason: str) -> None:
        """An answer that is not what it must be; the first ones are kept in words."""
        self.counts[kind, "wrong"] += 1
        if len(self.wrong) < _MAX_WRONG:
            self.wrong.append(f"{kind}: {reason}")


class Callers:
    """Everyone who asks one gateway. keys: secrets by name. limited: names of those that may be refused."""

    def __init__(self, base_url: str, keys: Mapping[str, str], *, limited: frozenset[str]) -> None:
        address = urlsplit(base_url)
        assert address.hostname is not None
        assert address.port is not None
        self._address = address.hostname, address.port
        self._keys = keys
        self._limited = limited
        self._messages = Connections(*self._address)
        self._chat = Connections(*self._address, first_delta=FIRST_DELTA)
        self.asking = 0

    async def ask(self, request: Request, *, key: str, agent: str, tally: Tally) -> None:
        """Makes one request and notes what became of it; agent: how it is called in the traces."""
        headers = self._headers(request, key, agent)
        self.asking += 1
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                outcome = await self._ask(request, headers, may_be_limited=key in self._limited, tally=tally)
        except (
            BadAnswerError,
            TimeoutError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
        ) as error:  # no JSON, other JSON
            tally.note_wrong(request.kind.name, f"{type(error).__name__}: {error}")
        else:
            tally.counts[request.kind.name, outcome] += 1
        finally:
            self.asking -= 1

    def close(self) -> None:
        """Closes the connections that are kept alive."""
        self._messages.close()
        self._chat.close()

    def _headers(self, request: Request, key: str, agent: str) -> dict[str, str]:
        return {
            "x-api-key": self._keys[key],
            "anthropic-version": "2023-06-01",
            "content-type": "application/json",
            "user-agent": agent,
        }

    async def _ask(self, request: Request, headers: Mapping[str, str], *, may_be_limited: bool, tally: Tally) -> str:
        match request.kind.manner:
            case Manner.LEAVE_SOON:
                try:
                    async with asyncio.timeout(_LEAVES_AFTER_S):
                        reply = await self._post(request, headers)
                except TimeoutError:
                    return "left"
            case Manner.LEAVE_MIDWAY | Manner.SLOW as manner:
                maybe = await self._post_alone(request, headers, leaves=manner is Manner.LEAVE_MIDWAY)
                if maybe is None:
                    return "left"
                reply = maybe
            case Manner.READ:
                reply = await self._post(request, headers)
        return _judged(request, reply, may_be_limited=may_be_limited, tally=tally)

    async def _post(self, request: Request, headers: Mapping[str, str]) -> Reply:
        connections = self._chat if request.kind.chat else self._messages
        return await connections.post(request.kind.path, request.body, headers=headers)

    async def _post_alone(self, request: Request, headers: Mapping[str, str], *, leaves: bool) -> Reply | None:
        """Sends on a connection of its own; None if the client left on purpose."""
        connection = Leaving() if leaves else Slow()
        plug = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plug.setblocking(False)
        if not leaves:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(plug, self._address)
            await loop.create_connection(lambda: connection, sock=plug)
        except OSError:
            plug.close()
            raise
        try:
            return await connection.post(request.kind.path, request.body, headers=headers)
        except BadAnswerError:
            if isinstance(connection, Leaving) and connection.left:
                return None
            raise
        finally:
            connection.close()


class Leaving(Connection):
    """One that is closed at the first delta."""

    def __init__(self) -> None:
        super().__init__(MESSAGES_DELTA)
        self.left = False

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        super().data_received(data)
        if self._first_delta_s is not None and not self.left:
            self.left = True
            self.abort()


class Slow(Connection):
    """One that reads a little, and then nothing for a while."""

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        super().data_received(data)
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(_READ_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self.open and not self._transport.is_closing():
            self._transport.resume_reading()


def _judged(request: Request, reply: Reply, *, may_be_limited: bool, tally: Tally) -> str:
    """The outcome of an answer. Raises BadAnswerError for one that must not be."""
    expected = request.kind.status
    if reply.status != expected:
        if reply.status == (503 if request.kind.chat else 529):
            return "refused_529"
        if reply.status == 429 and may_be_limited:
            return "refused_429"
        raise BadAnswerError(f"status {reply.status} for {expected}: {reply.body[:300]!r}")
    if expected != 200:
        _check_error(request, reply.body)
        return "upstream_error"
    request.question.check(_text(request, reply.body))
    if request.kind.timed and reply.first_delta_s is not None:
        tally.first_s.append(max(0.0, reply.first_delta_s - queued_s(reply.header("server-timing"))))
    return "answered"


def _text(request: Request, body: bytes) -> str:
    if request.kind.chat:
        if request.question.stream:
            return text_of_chunks(body)
        return str(orjson.loads(body)["choices"][0]["message"]["content"])
    return text_of_events(events_of(body)) if request.question.stream else text_of_message(body)


def _check_error(request: Request, body: bytes) -> None:
    """An error must be JSON of the dialect's shape, with the upstream's own words or those of a limit."""
    error: Any = orjson.loads(body)
    if not (isinstance(error, dict) and error.get("error", {}).get("message")):
        raise BadAnswerError(f"an error without a message: {body[:300]!r}")


def queued_s(server_timing: str | None) -> float:
    """The wait for a slot out of a `server-timing` header; 0 where it tells of none."""
    for part in (server_timing or "").split(","):
        name, _, value = part.strip().partition(";dur=")
        if name == "queue" and value:
            return float(value) / 1000
    return 0.0
