"""Comparison of the upstream's cost report (CSV) with the gateway's usage."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TextIO

from django.db.models import Sum

from apiproxy.core.limits import MICRO
from apiproxy.models import Model, Usage

_DAYS = ("usage_date_utc", "date", "day", "starting_at")
_MODELS = ("model", "model_version")
_DOLLARS = ("list_price_usd", "cost_usd")
_CENTS = "amount"
"""Columns of the Console's export (`usage_date_utc,model,…,token_type,cost_usd,list_price_usd,cost_type,…`), which
has display names of models, and fields of the Usage and Cost API's `cost_report`, whose `amount` is in cents.
Source: https://platform.claude.com/docs/en/api/admin/cost_report and the Console's Cost page, 2026-11."""
NO_MODEL = "(no model)"
"""Costs that the upstream bills without a model: fees of server tools."""
_LEAST_USD = Decimal("0.01")
"""Differences to ignore: the upstream rounds each row to the cent."""


class ReportError(ValueError):
    """The file is not a cost report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Costs of one day and model at the gateway (ours) and the upstream (theirs).

    unpriced: requests whose cost at the gateway is incomplete.
    """

    day: date
    model: str
    ours: Decimal
    theirs: Decimal
    unpriced: int = 0

    @property
    def off(self) -> Decimal:
        """Gateway minus upstream."""
        return self.ours - self.theirs


def read_report(file: TextIO) -> dict[tuple[date, str], Decimal]:
    """Costs in USD by day and model id. Raises ReportError."""
    reader = csv.DictReader(file)
    columns = reader.fieldnames or ()
    day_of, model_of = _first(columns, _DAYS), _first(columns, _MODELS)
    dollars = next((name for name in _DOLLARS if name in columns), None)
    if dollars is None and _CENTS not in columns:
        raise ReportError(f"It has none of the columns {', '.join((*_DOLLARS, _CENTS))}.")
    names = _names()
    costs: dict[tuple[date, str], Decimal] = {}
    for row in reader:
        try:
            day = date.fromisoformat((row[day_of] or "")[:10])
            cost = Decimal(row[dollars] or 0) if dollars else Decimal(row[_CENTS] or 0) / 100
        except (ValueError, InvalidOperation) as error:
            raise ReportError(f"Line {reader.line_num}: {error}") from error
        if not cost.is_finite():
            raise ReportError(f"Line {reader.line_num}: {cost} is not an amount.")
        shown = (row[model_of] or "").strip()
        place = (day, names.get(shown.lower(), shown) or NO_MODEL)
        costs[place] = costs.get(place, Decimal(0)) + cost
    if not costs:
        raise ReportError("It has no rows.")
    return costs


def compare(report: Mapping[tuple[date, str], Decimal]) -> list[Line]:
    """Compare both costs for every day of the report and every model in either."""
    days = {day for day, _ in report}
    rows = Usage.objects.filter(day__range=(min(days), max(days))).order_by().values("day", "model")
    ours: dict[tuple[date, str], tuple[Decimal, int]] = {}
    for row in rows.annotate(cost=Sum("cost_micro_usd"), out=Sum("unpriced") + Sum("partly_unpriced")):
        ours[row["day"], row["model"]] = (Decimal(row["cost"]) / MICRO, row["out"])
    nothing = (Decimal(0), 0)
    return [
        Line(
            day=day,
            model=model,
            ours=ours.get((day, model), nothing)[0],
            theirs=report.get((day, model), Decimal(0)),
            unpriced=ours.get((day, model), nothing)[1],
        )
        for day, model in sorted({*report, *(place for place in ours if place[0] in days)})
    ]


def totals(lines: Iterable[Line]) -> Iterator[Line]:
    """Totals by day, including fees without a model."""
    by_day: dict[date, list[Line]] = {}
    for line in lines:
        by_day.setdefault(line.day, []).append(line)
    for day, its in by_day.items():
        ours, theirs = sum((it.ours for it in its), Decimal(0)), sum((it.theirs for it in its), Decimal(0))
        yield Line(day=day, model="(all)", ours=ours, theirs=theirs, unpriced=sum(it.unpriced for it in its))


def beyond(lines: Iterable[Line], tolerance: Decimal) -> list[Line]:
    """Days and models that differ by more than the tolerance (a fraction).

    For a model the tolerance grows by the day's fees without a model, which the gateway counts with the models.
    """
    lines = list(lines)
    fees = {line.day: line.theirs for line in lines if line.model == NO_MODEL}
    found = [
        line
        for line in lines
        if line.model != NO_MODEL
        and abs(line.off) > max(_LEAST_USD, tolerance * line.theirs) + max(Decimal(0), fees.get(line.day, Decimal(0)))
    ]
    return found + [line for line in totals(lines) if abs(line.off) > max(_LEAST_USD, tolerance * line.theirs)]


def _first(columns: Iterable[str], names: tuple[str, ...]) -> str:
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise ReportError(f"It has none of the columns {', '.join(names)}.")
    return found


def _names() -> dict[str, str]:
    """Model ids by id, alias and display name in lower case."""
    found: dict[str, str] = {}
    for model in Model.objects.all():
        for name in (model.display_name, *model.aliases, model.pk):
            found[str(name).lower()] = model.pk
    return found
