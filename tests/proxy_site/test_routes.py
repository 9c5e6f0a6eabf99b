"""One table decides how a path is handled."""

import pytest

from proxy_site.openapi import document
from proxy_site.routes import TURN_DIALECTS, Errors, Handler, canonical_path, route_of


@pytest.mark.parametrize("path", sorted(document()["paths"]))
def test_require_a_key_for_every_path_of_the_api(path: str) -> None:
    route = route_of(path)
    assert route.handler is Handler.API
    assert route.api_key or path.startswith("/sessions")


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("path", TURN_DIALECTS)
def test_give_turns_their_own_deadlines_and_dialect(prefix: str, path: str) -> None:
    route = route_of(prefix + path)
    assert (route.turn, route.own_thread) == (True, False)
    assert route.errors is {"anthropic": Errors.ANTHROPIC, "openai": Errors.OPENAI}[TURN_DIALECTS[path]]


@pytest.mark.parametrize(
    ("path", "errors", "handler"),
    [
        ("/debug/stats", Errors.OPERATIONS, Handler.PAGES_WITH_COOKIE),
        ("/metrics", Errors.OPERATIONS, Handler.PAGES_WITH_COOKIE),
        ("/sessions", Errors.OPERATIONS, Handler.API),
        ("/dashboard/", Errors.PAGE, Handler.PAGES),
        ("/admin/", Errors.PAGE, Handler.PAGES),
        ("/static/x.css", Errors.ANTHROPIC, Handler.PAGES),
        ("/", Errors.ANTHROPIC, Handler.API),
    ],
)
def test_send_operations_and_pages_to_their_handler(path: str, errors: Errors, handler: Handler) -> None:
    route = route_of(path)
    assert (route.errors, route.handler, route.turn, route.api_key) == (errors, handler, False, False)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/v1/v1/chat/completions", "/v1/chat/completions"),
        ("//v1/messages", "/v1/messages"),
        ("/v1//chat/completions", "/v1/chat/completions"),
        ("/v1/messages/", "/v1/messages"),
        ("/v1/responses//", "/v1/responses"),
        ("//chat/completions", "/chat/completions"),
        ("/v1/v1/messages/count_tokens/", "/v1/messages/count_tokens"),
        ("/v1/models/", "/v1/models"),
        ("/v1/embeddings/", "/v1/embeddings"),
        ("/v1", "/"),
        ("/v1/", "/"),
    ],
)
def test_find_the_endpoint_of_a_careless_address(path: str, meant: str) -> None:
    assert canonical_path(path) == meant
    assert route_of(path) == route_of(meant)


@pytest.mark.parametrize(
    "path", ["/", "//", "//admin/", "/admin/", "//debug/stats", "/dashboard//live", "/v1/v1x", "/v1/v1", "/x/"]
)
def test_keep_addresses_without_a_key_as_they_are(path: str) -> None:
    assert canonical_path(path) == path


def test_read_a_long_address_in_linear_time() -> None:
    assert canonical_path("/v1" * 5_000 + "/" * 5_000 + "messages") == "/v1/messages"
