"""Watchdog of slow statements."""

import sqlite3
import threading
from contextlib import closing
from types import SimpleNamespace

import pytest

from apiproxy.db import statement_timeout
from tests.support.waiting import eventually

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


def test_end_statements_after_a_connection_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_timeout, "STATEMENT_TIMEOUT_S", 0.1)
    limiter, outcome = statement_timeout._Watchdog(), list[str]()
    closed = sqlite3.connect(":memory:")
    closed.close()
    limiter.begin(SimpleNamespace(vendor="sqlite", connection=closed))
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as opened:

        def ask() -> None:
            limiter.begin(SimpleNamespace(vendor="sqlite", connection=opened))
            try:
                opened.execute(_ENDLESS).fetchone()
            except sqlite3.OperationalError as error:
                outcome.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            eventually(lambda: outcome == ["interrupted"])
        finally:
            opened.interrupt()
            asking.join(10)
