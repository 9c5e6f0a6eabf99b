"""`manage.py prunetraces`: delete expired traces now. `serve` does this every hour."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from observability.tracing.retention import DUMP_DAYS, prune


class Command(BaseCommand):
    """Delete traces, error dumps, stored bodies and sums past their retention period."""

    help = "Delete traces, error dumps, stored bodies and sums past their retention period."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="days to keep traces (default: the setting)")
        parser.add_argument(
            "--dump-days", type=int, default=DUMP_DAYS, help=f"days to keep dumps and bodies (default: {DUMP_DAYS})"
        )

    def handle(self, *_args: Any, days: int | None, dump_days: int, **_options: Any) -> None:
        days = settings.GATEWAY.trace_retention_days if days is None else days
        if days < 0 or dump_days < 0:
            raise CommandError("--days and --dump-days cannot be below zero.")
        done = prune(trace_days=days, dump_days=dump_days)
        self.stdout.write(f"{done.traces} traces, {done.dumps} dumps, {done.bodies} bodies, {done.sums} sums deleted.")
