"""Mix of requests in a soak: kinds, their shares, and permitted answers. Pure."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench import questions
from bench.openai import chat_body
from bench.questions import Question

MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"
RECOVERS = "recovers"
"""Requests whose first try fails. Each needs a body of its own."""

_LARGE_TURNS = 220
"""Earlier turns of a large request, of 0.9 KB each: 200 KB."""
_LONG_DELTAS = 3_000
_SLOW_DELTAS = 6_000
_LEFT = "[[gap=0.01]]"


class Manner(StrEnum):
    """A client's way of reading. LEAVE_SOON: leaves before the first byte; LEAVE_MIDWAY: after the first delta."""

    READ = "read"
    SLOW = "slow"
    LEAVE_SOON = "leave_soon"
    LEAVE_MIDWAY = "leave_midway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of request. weight: how many of all together (`TOTAL`). status: the one that the upstream gives."""

    name: str
    weight: int
    ask: Callable[[int], Question]
    status: int = 200
    manner: Manner = Manner.READ
    chat: bool = False

    @property
    def path(self) -> str:
        """The endpoint."""
        return CHAT if self.chat else MESSAGES

    @property
    def timed(self) -> bool:
        """True if its first token counts: a stream that is read to its end as it comes, at the first try."""
        return self.status == 200 and self.manner is Manner.READ and self.name != RECOVERS and self.ask(0).stream


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a kind."""

    kind: Kind
    question: Question
    body: bytes


def _always(question: Question) -> Callable[[int], Question]:
    return lambda _: question


def _error(status: int) -> Callable[[int], Question]:
    return _always(questions.short(extra=f"[[status={status}]]"))


KINDS: Sequence[Kind] = (
    Kind(name="short", weight=300, ask=_always(questions.short())),
    Kind(name="plain", weight=150, ask=_always(questions.short(stream=False))),
    Kind(name="history", weight=100, ask=_always(questions.with_history(6))),
    Kind(name="large", weight=80, ask=_always(questions.with_history(_LARGE_TURNS))),
    Kind(name="long", weight=40, ask=_always(questions.short(deltas=_LONG_DELTAS))),
    Kind(name="tool_call", weight=50, ask=_always(questions.tool_call())),
    Kind(name="tool_result", weight=50, ask=_always(questions.tool_result())),
    Kind(name="max_tokens", weight=40, ask=_always(questions.short(extra="[[stop=max_tokens]]"))),
    Kind(name="chat", weight=60, ask=_always(questions.short()), chat=True),
    Kind(name="chat_plain", weight=30, ask=_always(questions.short(stream=False)), chat=True),
    Kind(name=RECOVERS, weight=20, ask=lambda number: questions.short(extra=f"[[flaky=soak-{number}:1:529]]")),
    Kind(name="error_400", weight=10, ask=_error(400), status=400),
    Kind(name="error_429", weight=10, ask=_error(429), status=429),
    Kind(name="error_500", weight=5, ask=_error(500), status=500),
    Kind(name="error_529", weight=5, ask=_error(529), status=529),
    Kind(
        name="leaves_soon",
        weight=20,
        ask=_always(questions.short(extra="[[first=0.5]]")),
        manner=Manner.LEAVE_SOON,
    ),
    Kind(
        name="leaves_midway",
        weight=25,
        ask=_always(questions.short(deltas=300, extra=_LEFT)),
        manner=Manner.LEAVE_MIDWAY,
    ),
    Kind(name="slow", weight=5, ask=_always(questions.short(deltas=_SLOW_DELTAS)), manner=Manner.SLOW),
)
TOTAL = sum(kind.weight for kind in KINDS)


class Mix:
    """Requests in their proportions, the same ones for the same seed."""

    def __init__(self, seed: int, kinds: Sequence[Kind] = KINDS) -> None:
        self._random = random.Random(seed)
        self._kinds = kinds
        self._weights = [kind.weight for kind in kinds]
        self._bodies: dict[str, bytes] = {}
        self._count = 0

    def next(self) -> Request:
        """The next one."""
        kind = self._random.choices(self._kinds, self._weights)[0]
        self._count += 1
        question = kind.ask(self._count)
        return Request(kind, question, self._body(kind, question))

    def pause_s(self, rate: float) -> float:
        """Until the next arrival of a Poisson process with so many a second."""
        return self._random.expovariate(rate)

    def one_of(self, weights: Mapping[str, int]) -> str:
        """One of the names, as often as they weigh."""
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _body(self, kind: Kind, question: Question) -> bytes:
        """Made once where every request of the kind is the same, for a large one takes a millisecond."""
        if kind.name == RECOVERS:
            return question.body()
        if kind.name not in self._bodies:
            self._bodies[kind.name] = chat_body(question) if kind.chat else question.body()
        return self._bodies[kind.name]


TIMED = tuple(kind for kind in KINDS if kind.timed)
"""Those whose first token is timed."""
