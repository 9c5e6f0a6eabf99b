"""Streams of the upstream that users of such gateways met, asked for through each API, streamed and whole."""

import base64
import json
from typing import Any

import pytest

from apiproxy.core.turns import ENGINES
from tests.differential.pair import Pair
from tests.field.asks import PATHS, as_json, body_of, has_field_lines, view
from tests.field.cases import STREAMS, Case, differences, title_of
from tests.support.engine import mark

pytestmark = pytest.mark.long


def content_of(case: Case) -> bytes:
    """The upstream's bytes."""
    if "text" in case:
        return str(case["text"]).encode()
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (it["type"].encode(), json.dumps(it).encode()) for it in case["events"]
    )


def expected_of(case: Case, api: str, way: str, engine: str) -> dict[str, Any]:
    """A case's expectations for an API: for both ways and engines, or for one."""
    names = (api, f"{api} {way}", f"{api} @{engine}", f"{api} {way} @{engine}")
    return {path: value for name in names for path, value in case["expect"].get(name, {}).items()}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("case", STREAMS, ids=title_of)
def test_answer_stream_of_the_field(pair: Pair, case: Case, api: str, *, stream: bool) -> None:
    own = mark()
    prompt = f"{own} [[raw={base64.b64encode(content_of(case)).decode()}]]"

    both = pair.send(body_of(api, prompt, stream=stream), mark=own, path=PATHS[api])

    for engine in ENGINES:
        side = getattr(both, engine)
        seen = view(api, side)
        wrong = differences(seen, expected_of(case, api, "streamed" if stream else "whole", engine))
        assert not wrong, f"{engine}: {wrong} in {as_json(seen)}"
        assert side.status < 500 or seen["error"], "a failure says why"
        assert api == "messages" or not has_field_lines(side.content)
