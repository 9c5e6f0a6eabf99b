"""All that is thrown at the gateway, kind by kind, and how much of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import inputs, openapi, upstream
from tests.fuzz.exchange import Request
from tests.fuzz.target import Target

_PAGES = [
    "/dashboard/requests", "/dashboard/requests/", "/dashboard/sessions", "/dashboard/errors", "/dashboard/logs",
    "/dashboard/usage", "/dashboard/charts", "/dashboard/live", "/admin/", "/admin/login/", "/static/",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of input: where it comes from, and what its answer is checked by. share: of all cases."""

    name: str
    share: float
    strategy: Callable[[], st.SearchStrategy[Any]]
    check: Callable[[Target, Any], None]


def _as_operator(target: Target, request: Request) -> None:
    target.check(request, key="operator")


KINDS = (
    Kind("schemathesis, allowed", 0.15, openapi.allowed, Target.check),
    Kind("schemathesis, refused", 0.15, openapi.refused, Target.check),
    Kind("spoiled bodies", 0.2, inputs.bodies, Target.check),
    Kind("broken bytes", 0.15, inputs.broken_bodies, Target.check),
    Kind("headers", 0.1, inputs.headers, Target.check),
    Kind("addresses", 0.05, inputs.addresses, Target.check),
    Kind("addresses of operations", 0.05, inputs.addresses, _as_operator),
    Kind("addresses of pages", 0.03, lambda: inputs.addresses(within=_PAGES), Target.check_page),
    Kind("HTTP itself", 0.07, inputs.wires, Target.check_wire),
    Kind("upstream's streams", 0.05, upstream.upstreams, Target.check_upstream),
)


def fire(target: Target, kind: Kind, *, cases: int, number: int, shrink: bool = True) -> int:
    """Checks a number of inputs of a kind, then the whole gateway; returns the number of requests.

    number: the seed. AssertionError with the smallest input that was found to go wrong.
    """
    before = target.cases

    @seed(number)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(kind.strategy())
    def each(found: Any) -> None:
        kind.check(target, found)

    each()
    target.still_well()
    return target.cases - before


def shares(total: int) -> Iterator[tuple[Kind, int]]:
    """Each kind with its number of cases, at least one."""
    for kind in KINDS:
        yield kind, max(1, round(total * kind.share))
