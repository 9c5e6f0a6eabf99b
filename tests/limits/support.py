"""Helpers of the limit tests: keys with limits, and requests of a given cost."""

import itertools
from dataclasses import dataclass
from datetime import date
from typing import Any

from apiproxy.core.limits import LimitState
from apiproxy.keys.cache import set_new_secret
from apiproxy.limits.budget import day_of
from apiproxy.limits.jobs import Job, Reserve, Settle
from apiproxy.limits.ledger import Answer, Ledger
from apiproxy.limits.policy import Cost
from apiproxy.limits.usage import Sums, UsageEntry, UsageKey
from apiproxy.models import ApiKey

_numbers = itertools.count()


@dataclass
class Clock:
    """Manual clock in Unix seconds."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def today(self) -> date:
        return day_of(self.now)


def make_key(**limits: Any) -> ApiKey:
    """Save a key with these limits."""
    key = ApiKey(name=f"key-{next(_numbers)}", **limits)
    set_new_secret(key)
    key.save()
    return key


def reserve(
    key: ApiKey, run_id: str = "", *, tokens: int = 10, micro_usd: int = 10, day: date | None = None
) -> Reserve:
    cost = Cost(tokens=tokens, micro_usd=micro_usd, day=day or day_of(1_800_000_000.0))
    return Reserve(run_id=run_id or f"run-{next(_numbers)}", key_id=key.pk, cost=cost)


def settle(job: Reserve, *, tokens: int = 10, micro_usd: int = 10, model: str = "m") -> Settle:
    sums = Sums(requests=1, input_tokens=tokens, cost_micro_usd=micro_usd)
    entry = UsageEntry(row=UsageKey(job.key_id, job.cost.day, model), key_label="k", sums=sums)
    return Settle(run_id=job.run_id, entry=entry, tokens=tokens, reserved=True)


def ask(ledger: Ledger, *jobs: Job) -> list[Answer]:
    """Results of one batch."""
    return ledger.do(jobs)


def passed(answers: list[Answer]) -> int:
    return sum(isinstance(answer, LimitState) for answer in answers)
