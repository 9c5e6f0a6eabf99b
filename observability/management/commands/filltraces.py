"""`manage.py filltraces COUNT`: synthetic traces, to test the dashboard and its speed."""

import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from observability.stats.figures import FINE_KEPT_S, MINUTES_KEPT_S
from observability.stats.rollup import Sums
from observability.tracing.store import write_sums, write_traces
from observability.tracing.synthetic import synthetic_traces

_CHUNK = 5_000


class Command(BaseCommand):
    """Write synthetic traces and their sums in the same form as the gateway."""

    help = "Fill the database with synthetic traces, to test the dashboard and its speed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("count", type=int, help="number of traces")
        parser.add_argument("--days", type=float, default=30.0, help="spread over the last DAYS days (default: 30)")
        parser.add_argument("--seed", type=int, default=None, help="random seed, for reproducible traces")

    def handle(self, *_args: Any, count: int, days: float, seed: int | None, **_options: Any) -> None:
        if count < 1 or days <= 0:
            raise CommandError("count and --days must be above zero.")
        begun = time.monotonic()
        until = datetime.now(UTC)
        traces = synthetic_traces(count, days=days, until=until, seed=int(begun * 1000) if seed is None else seed)
        written = 0
        while chunk := list(islice(traces, _CHUNK)):
            sums = Sums()
            for trace in chunk:
                age_s = (until - trace["received_at"]).total_seconds()
                fine, minutes = age_s < FINE_KEPT_S, age_s < MINUTES_KEPT_S
                at = trace["finished_at"].timestamp()
                sums.add(trace, at=at, model=trace["model"], fine=fine, minutes=minutes)
            with transaction.atomic():
                write_traces(chunk)
                write_sums(sums)
            written += len(chunk)
            self.stdout.write(f"\r{written} of {count}", ending="")
            self.stdout.flush()
        with connection.cursor() as cursor:
            # Autovacuum does this eventually; until then index-only scans on PostgreSQL still read the table.
            in_use = connection.in_atomic_block
            cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" and not in_use else "ANALYZE")
        self.stdout.write(f"\r{written} traces in {time.monotonic() - begun:.0f} s.")
