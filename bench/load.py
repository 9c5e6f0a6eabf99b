"""Load client in a process of its own: reads a plan as JSON from stdin, prints what it measured as JSON.

While it runs it only collects bytes; every answer is checked after the last one.
"""

import asyncio
import gc
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench.client import Connections, Reply
from bench.questions import Question, short
from bench.sse import BadAnswerError, events_of, text_of_events, text_of_message

_ROOT = Path(__file__).resolve().parents[1]
_MODULE = "bench.load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Load on one server.

    clients: connections, each with one request at a time. requests: of all of them. spread_s: None for clients that
    send their next request at once; else every request has its own client, and they start evenly over these seconds.
    deltas, stream, gap_s: of each answer. path, headers: of each request. limit_s: after it the load is given up.
    """

    base_url: str
    headers: Mapping[str, str]
    requests: int
    clients: int = 1
    spread_s: float | None = None
    deltas: int = 20
    gap_s: float = 0.0
    stream: bool = True
    path: str = "/v1/messages"
    limit_s: float = 300.0

    def question(self) -> Question:
        """Question of each request."""
        extra = f"[[gap={self.gap_s}]] " if self.gap_s else ""
        return short(stream=self.stream, deltas=self.deltas, extra=extra)


@dataclass(slots=True, kw_only=True)
class Measured:
    """Result of a load. Times in seconds; wrong: descriptions of wrong answers by their number."""

    first_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0
    most_open: int = 0
    answered: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    client_cpu_s: float = 0.0
    server_cpu_s: float = 0.0

    def add(self, other: "Measured") -> None:
        """Add the result of another load on the same server."""
        self.first_s += other.first_s
        self.total_s += other.total_s
        self.elapsed_s += other.elapsed_s
        self.most_open = max(self.most_open, other.most_open)
        self.answered += other.answered
        for text, count in other.wrong.items():
            self.wrong[text] = self.wrong.get(text, 0) + count
        self.client_cpu_s += other.client_cpu_s
        self.server_cpu_s += other.server_cpu_s

    def check(self) -> None:
        """Raises BadAnswerError if an answer was wrong or missing."""
        if self.wrong:
            text, count = max(self.wrong.items(), key=lambda item: item[1])
            raise BadAnswerError(f"{sum(self.wrong.values())} wrong answers, {count} of them: {text}")


async def run_load(plan: Plan) -> Measured:
    """Run the plan in a process of its own. Raises RuntimeError if that process fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    try:
        output, errors = await process.communicate(orjson.dumps(asdict(plan)))
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the load client failed: {errors.decode(errors='replace')[-2000:]}")
    return Measured(**orjson.loads(output))


class _Load:
    def __init__(self, plan: Plan) -> None:
        address = urlsplit(plan.base_url)
        assert address.hostname is not None
        assert address.port is not None
        self._plan = plan
        self._question = plan.question()
        self._body = self._question.body()
        self._connections = Connections(address.hostname, address.port)
        self._replies: list[Reply] = []
        self._errors = Counter[str]()
        self._open = 0
        self._measured = Measured()

    async def run(self) -> Measured:
        """Send all requests and check the answers."""
        measured = self._measured
        gc.disable()  # the replies are kept, so collections would only take longer and longer
        started_at = time.perf_counter()
        try:
            async with asyncio.timeout(self._plan.limit_s):
                await (self._closed() if self._plan.spread_s is None else self._spread(self._plan.spread_s))
        except TimeoutError:
            self._errors[f"not answered within {self._plan.limit_s:g} s"] += 1
        measured.elapsed_s = time.perf_counter() - started_at
        used = resource.getrusage(resource.RUSAGE_SELF)
        measured.client_cpu_s = used.ru_utime + used.ru_stime
        self._connections.close()
        self._check()
        return measured

    async def _closed(self) -> None:
        left = self._plan.requests

        async def client() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self._ask()

        await asyncio.gather(*(client() for _ in range(self._plan.clients)))

    async def _spread(self, seconds: float) -> None:
        count, loop, tasks = self._plan.requests, asyncio.get_running_loop(), []
        started_at = loop.time()
        for number in range(count):
            await asyncio.sleep(started_at + number * seconds / count - loop.time())
            tasks.append(asyncio.create_task(self._ask()))
        await asyncio.gather(*tasks)

    async def _ask(self) -> None:
        self._open += 1
        self._measured.most_open = max(self._measured.most_open, self._open)
        try:
            self._replies.append(await self._connections.post(self._plan.path, self._body, headers=self._plan.headers))
        except (OSError, BadAnswerError) as error:
            self._errors[f"{type(error).__name__}: {error}"] += 1
        finally:
            self._open -= 1

    def _check(self) -> None:
        for reply in self._replies:
            try:
                self._check_one(reply)
            except (BadAnswerError, KeyError, ValueError) as error:
                self._errors[f"{type(error).__name__}: {error}"[:500]] += 1
        self._measured.wrong = dict(self._errors)

    def _check_one(self, reply: Reply) -> None:
        if reply.status != 200:
            raise BadAnswerError(f"status {reply.status}: {reply.body[:300]!r}")
        is_stream = self._plan.stream
        self._question.check(text_of_events(events_of(reply.body)) if is_stream else text_of_message(reply.body))
        self._measured.answered += 1
        self._measured.total_s.append(reply.total_s)
        if reply.first_delta_s is not None:
            self._measured.first_s.append(reply.first_delta_s)


def main() -> None:
    """Read a plan from stdin, run it and print the result."""
    plan: dict[str, Any] = orjson.loads(sys.stdin.buffer.read())
    measured = asyncio.run(_Load(Plan(**plan)).run())
    sys.stdout.buffer.write(orjson.dumps(measured))


if __name__ == "__main__":
    main()
