"""`manage.py prunetraces`: deletes old traces now. `serve` does the same by itself every hour."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from observability.tracing.retention import DUMP_DAYS, prune


class Command(BaseCommand):
    """Deletes traces, error dumps, stored bodies and sums that are older than they are kept."""

    help = "Deletes traces, error dumps, stored bodies and sums that are older than they are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """For how long they are kept."""
        parser.add_argument("--days", type=int, help="keep traces for so many days (the setting)")
        parser.add_argument("--dump-days", type=int, default=DUMP_DAYS, help=f"keep dumps for so many ({DUMP_DAYS})")

    def handle(self, *_args: Any, days: int | None, dump_days: int, **_options: Any) -> None:
        """Deletes them and says how many there were."""
        days = settings.GATEWAY.trace_retention_days if days is None else days
        if days < 0 or dump_days < 0:
            raise CommandError("--days and --dump-days cannot be below zero.")
        done = prune(trace_days=days, dump_days=dump_days)
        self.stdout.write(f"{done.traces} traces, {done.dumps} dumps, {done.bodies} bodies, {done.sums} sums deleted.")
