"""Requests of clients that users of such gateways met: what the upstream and the client get, on both engines."""

import json
from typing import Any

import pytest

from apiproxy.core.turns import ENGINES
from tests.differential.pair import Pair, Side
from tests.field.asks import PATHS, as_json, view
from tests.field.cases import Case, at, differences, read, title_of
from tests.support.engine import mark

pytestmark = pytest.mark.long

REQUESTS = read("requests")
APIS = {path: api for api, path in PATHS.items()}
_HEADER = "x-proxy-ignored"


def check(case: Case, side: Side) -> dict[str, Any]:
    """Differences from the case's expectation."""
    expect = case["expect"]
    wrong: dict[str, Any] = {} if side.status == expect["status"] else {"status": side.status}
    seen = view(APIS[case["path"]], side)
    wrong |= differences(seen, expect.get("answer", {}))
    if "error" in expect:
        wrong |= differences(seen.get("error"), expect["error"])
    if "asks" in expect and len(side.exchanges) != expect["asks"]:
        wrong["upstream requests"] = len(side.exchanges)
    wrong |= differences(dict(side.headers), expect.get("headers", {}))
    if side.status == 200:
        wrong |= check_ignored(side.headers.get(_HEADER, ""), expect.get("ignored"))
        wrong |= check_upstream(side, expect)
    return wrong and {**wrong, "answer": as_json(seen)}


def check_ignored(header: str, expected: list[str] | None) -> dict[str, Any]:
    """Each of these parts is named; with none, nothing is."""
    if expected is None or (expected and all(part in header for part in expected)) or (not expected and not header):
        return {}
    return {_HEADER: header}


def check_upstream(side: Side, expect: Case) -> dict[str, Any]:
    body = json.loads(side.upstream.raw)
    wrong = differences(body, expect.get("upstream", {}))
    wrong |= differences(dict(side.upstream.headers), expect.get("upstream_headers", {}))
    wrong |= {path: at(body, path) for path, text in expect.get("upstream_text", {}).items() if at(body, path) != text}
    values = [at(body, path) for path in expect.get("unique", ())]
    if len(set(values)) != len(values):
        wrong["not unique"] = (values, "unique")
    for first, second in expect.get("same", ()):
        if at(body, first) != at(body, second):
            wrong[first] = (at(body, first), at(body, second))
    return wrong


@pytest.mark.parametrize("case", REQUESTS, ids=title_of)
def test_take_request_of_the_field(pair: Pair, case: Case) -> None:
    own = mark()
    body = json.dumps(case["body"]).replace("{mark}", own).encode()

    both = pair.send(body, mark=own, path=case["path"], headers=case.get("headers"))

    for engine in ENGINES:
        assert not (wrong := check(case, getattr(both, engine))), f"{engine}: {wrong}"
