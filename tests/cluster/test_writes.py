"""Database writes per request: batching keeps them below two with concurrent requests."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apiproxy.limits.budget import day_of
from apiproxy.limits.jobs import Settle
from apiproxy.limits.ledger import Ledger
from apiproxy.limits.usage import Sums, UsageEntry, UsageKey
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store
from tests.observability.builders import course, draft_of, make_turn, opening

pytestmark = [pytest.mark.django_db, pytest.mark.long]

CLIENTS = 8
_WRITES = re.compile(r"(\d+ times: )?\s*(INSERT|UPDATE|DELETE)")


def writes_for(requests: int) -> int:
    """Number of write statements for that many concurrent requests."""
    store = Store(node="here", process="here", redactor=Redactor(), names=ModelNames())
    ledger = Ledger()
    turns = [make_turn() for _ in range(requests)]
    drafts = [draft_of(turn, course()) for turn in turns]
    settles = [
        Settle(
            run_id=turn.id,
            entry=UsageEntry(
                row=UsageKey(7, day_of(turn.received_at), turn.model), key_label="k", sums=Sums(requests=1)
            ),
            tokens=0,
            reserved=False,
        )
        for turn in turns
    ]
    with CaptureQueriesContext(connection) as captured:
        store.write([Record(draft_of(turn, opening()), final=False) for turn in turns])
        store.write([Record(draft, final=True) for draft in drafts])
        ledger.do(settles)
    # Django reports executemany on SQLite as one statement ("8 times: …").
    return sum(re.match(_WRITES, query["sql"]) is not None for query in captured)


def test_batch_writes_of_eight_and_eighty_requests() -> None:
    writes_for(1)  # creates the rows of the day
    eight = writes_for(CLIENTS)
    assert 0 < eight < 2 * CLIENTS
    assert writes_for(10 * CLIENTS) == eight
