"""Agents, their meters and model requests, for the tests of the relay and the meter."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from apiproxy.core.agents import AgentSpec
from apiproxy.core.events import Step, Usage
from apiproxy.core.prices import Prices, PriceTable, charge
from apiproxy.engines.agents.metering import RunMeter
from apiproxy.engines.agents.model_request import ModelRequest, checked_request

MODEL = "claude-test"
PRICES = Prices(
    input=Decimal(3),
    output=Decimal(15),
    cache_write=Decimal("3.75"),
    cache_read=Decimal("0.3"),
    cache_write_1h=Decimal(6),
)
TABLE = PriceTable(of={MODEL: PRICES}.get, all=lambda: [PRICES])


def agent(**fields: Any) -> AgentSpec:
    settings = {"slug": "helper", "version": 1, "display_name": "Helper", "model": MODEL}
    return AgentSpec(**{**settings, **fields})


def body(prompt: str = "hello", **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    return {"model": MODEL, "max_tokens": 2_000, "messages": [message], "stream": True, **fields}


def request_of(given: Mapping[str, Any], *, prices: PriceTable = TABLE, **settings: Any) -> ModelRequest:
    return checked_request(dict(given), model=MODEL, prices=prices, **settings)


def priced(model: str, usage: Usage) -> Usage:
    charged = charge(model, usage, TABLE.of)
    assert charged is not None
    return replace(usage, cost_usd=float(charged.usd), unpriced=charged.unpriced)


@dataclass
class Metered:
    """A meter and what it has reported."""

    meter: RunMeter
    steps: list[Step] = field(default_factory=list)
    sent: list[bool] = field(default_factory=list)


def metered(prices: PriceTable = TABLE, *, sources: tuple[str, ...] = (), **fields: Any) -> Metered:
    steps: list[Step] = []
    sent: list[bool] = []
    meter = RunMeter(
        agent(**fields),
        price=priced,
        prices=prices,
        sources=sources,
        on_step=steps.append,
        on_sent=lambda: sent.append(True),
    )
    return Metered(meter, steps, sent)
