"""`manage.py comparecosts`: compares the gateway's costs with the upstream's cost report."""

from argparse import ArgumentParser, ArgumentTypeError
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apiproxy.limits.cost_report import Line, ReportError, beyond, compare, read_report, totals


def _share(text: str) -> Decimal:
    try:
        share = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        raise ArgumentTypeError("must be a percentage such as 1%") from None
    if not share.is_finite() or not 0 <= share <= 100:
        raise ArgumentTypeError("must be from 0% to 100%")
    return share / 100


class Command(BaseCommand):
    """Prints both figures by day and model. Fails where they differ by more than the tolerance."""

    help = "Compares the costs of keys with the upstream's cost report (the CSV export of the Console's Cost page)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="A CSV with the columns usage_date_utc, model and cost_usd.")
        parser.add_argument("--tolerance", type=_share, default=Decimal("0.01"), metavar="P%", help="Default: 1%%.")

    def handle(self, *args: Any, file: Path, tolerance: Decimal, **options: Any) -> None:
        """Raises CommandError where figures differ, and for an invalid report."""
        try:
            with file.open(encoding="utf-8-sig", newline="") as opened:
                report = read_report(opened)
        except (OSError, UnicodeDecodeError, ReportError) as error:
            raise CommandError(f"{file}: {error}") from error
        lines = compare(report)
        sums = {line.day: line for line in totals(lines)}
        far = {(line.day, line.model) for line in beyond(lines, tolerance)}
        self._row("day", "model", "ours, USD", "theirs, USD", "difference", "")
        for index, line in enumerate(lines):
            self._line(line, far)
            if index + 1 == len(lines) or lines[index + 1].day != line.day:
                self._line(sums[line.day], far)
        if far:
            raise CommandError(f"{len(far)} figures differ by more than {float(tolerance * 100):g}%.")
        self.stdout.write(self.style.SUCCESS(f"All figures agree within {float(tolerance * 100):g}%."))

    def _line(self, line: Line, far: set[tuple[Any, str]]) -> None:
        percent = f"{line.off / line.theirs * 100:+.2f}%" if line.theirs else "–"
        notes = ["differs"] if (line.day, line.model) in far else []
        notes += [f"{line.unpriced} requests not fully priced"] if line.unpriced else []
        self._row(line.day.isoformat(), line.model, f"{line.ours:.4f}", f"{line.theirs:.4f}", percent, ", ".join(notes))

    def _row(self, day: str, model: str, ours: str, theirs: str, percent: str, notes: str) -> None:
        self.stdout.write(f"{day:<10}  {model:<34}  {ours:>12}  {theirs:>12}  {percent:>10}  {notes}".rstrip())
