"""The object graph of a process: gateways that share nothing, and the one that views get."""

from typing import Any

import pytest
from django.conf import settings

from apiproxy.core.events import Event, Queued
from apiproxy.core.turns import Turn
from apiproxy.gateway import Gateway, gateway, install
from tests.observability.builders import make_turn


class Heard:
    """Observer that keeps what it hears; also a service of the site."""

    def __init__(self, owner: Gateway) -> None:
        self.events: list[Event] = []
        owner.observers.register(self)
        owner.add(self)

    def on_event(self, turn: Turn, event: Event) -> None:
        self.events.append(event)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@pytest.fixture
def pair() -> tuple[Gateway, Gateway]:
    return Gateway(settings.GATEWAY, services=[Heard]), Gateway(settings.GATEWAY, services=[Heard])


def test_keep_observers_of_two_gateways_apart(pair: tuple[Gateway, Gateway]) -> None:
    first, second = (made.find(Heard) for made in pair)
    pair[0].observers.publish(make_turn(), Queued(0.0, 1))
    assert first is not None
    assert second is not None
    assert (len(first.events), len(second.events)) == (1, 0)


def test_throttle_two_gateways_apart(pair: tuple[Gateway, Gateway]) -> None:
    for _ in range(60):
        pair[0].wrong_keys.failed("192.0.2.1")
    assert [made.wrong_keys.wait_s("192.0.2.1") > 0 for made in pair] == [True, False]


def test_views_get_one_gateway_until_another_is_installed() -> None:
    made = gateway()
    assert gateway() is made
    other = Gateway(settings.GATEWAY)
    install(other)
    assert gateway() is other


def test_find_nothing_of_an_app_that_does_not_run() -> None:
    assert gateway().find(Heard) is None


@pytest.mark.parametrize("part", ["accounting", "sessions", "keyring", "catalog", "runtime"])
def test_give_each_of_two_gateways_its_own_parts(pair: tuple[Gateway, Gateway], part: str) -> None:
    def own(made: Gateway) -> Any:
        return getattr(made, part)

    assert own(pair[0]) is not own(pair[1])
