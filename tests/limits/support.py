"""What the tests of limits share: keys with limits, and requests that need so and so much."""

import itertools
from dataclasses import dataclass
from datetime import date
from typing import Any

from apiproxy.core.limits import LimitState
from apiproxy.keys.cache import give_secret
from apiproxy.limits.budget import day_of
from apiproxy.limits.jobs import Job, Reserve, Settle
from apiproxy.limits.ledger import Answer, Ledger
from apiproxy.limits.policy import Need
from apiproxy.limits.usage import Entry, Sums, UsageKey
from apiproxy.models import ApiKey

_numbers = itertools.count()


@dataclass
class Clock:
    """A clock that stands still until it is told to go; Unix seconds."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def today(self) -> date:
        return day_of(self.now)


def make_key(**limits: Any) -> ApiKey:
    """A key with these limits, saved."""
    key = ApiKey(name=f"key-{next(_numbers)}", **limits)
    give_secret(key)
    key.save()
    return key


def reserve(
    key: ApiKey, run_id: str = "", *, tokens: int = 10, micro_usd: int = 10, day: date | None = None
) -> Reserve:
    need = Need(tokens=tokens, micro_usd=micro_usd, day=day or day_of(1_800_000_000.0))
    return Reserve(run_id=run_id or f"run-{next(_numbers)}", key_id=key.pk, need=need)


def settle(job: Reserve, *, tokens: int = 10, micro_usd: int = 10, model: str = "m") -> Settle:
    sums = Sums(requests=1, input_tokens=tokens, cost_micro_usd=micro_usd)
    entry = Entry(row=UsageKey(job.key_id, job.need.day, model), key_label="k", sums=sums)
    return Settle(run_id=job.run_id, entry=entry, tokens=tokens, reserved=True)


def ask(ledger: Ledger, *jobs: Job) -> list[Answer]:
    """The answers to one batch."""
    return ledger.do(jobs)


def passed(answers: list[Answer]) -> int:
    return sum(isinstance(answer, LimitState) for answer in answers)
