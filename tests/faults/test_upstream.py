"""An upstream that fails in every way: what the client gets, what is kept, and that nothing stays taken."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import pytest

from apiproxy.core.turns import EngineName
from tests.faults.support import Prepared, Watched, settings_of
from tests.support.forwarder import Forwarder
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected, every
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long

LOST = "upstream_error: connection_lost after worker_ready"
MID_STREAM_LOST = "upstream_error: connection_lost after streaming"
REFUSED = "upstream_error: upstream_error after worker_ready"
UPSTREAM = "The upstream"


@pytest.fixture(scope="module")
def road(stand_in: StandInProcess) -> Iterator[Forwarder]:
    """The way to the stand-in, which a test may cut."""
    forwarder = Forwarder(urlsplit(stand_in.base_url).port or 0)
    yield forwarder
    forwarder.stop()


@pytest.fixture(scope="module")
def watched(
    engine: EngineName, prepared: Prepared, road: Forwarder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    env = {
        **settings_of(engine),
        "CLAUDE_PROXY_UPSTREAM_RETRIES": "0",
        "CLAUDE_PROXY_STALL_TIMEOUT_MS": "3000",
        "CLAUDE_PROXY_MAX_OUTPUT_CHARS": "2000000",
    }
    if engine == "http":  # a plain answer may be silent for as long as that
        env["CLAUDE_PROXY_MAX_DURATION_MS"] = "6000"
    upstream = f"http://127.0.0.1:{road.port}"
    process = prepared.put_into(GatewayProcess(tmp_path_factory.mktemp("faults"), upstream=upstream, env=env)).start()
    yield Watched(process, prepared.secrets)
    process.stop()


def check(watched: Watched, prompt: str, expected: Expected) -> None:
    """Asks once plainly and once for a stream, and compares all that the mark says."""
    plain, streamed = watched.ask_both_ways(prompt)
    assert (str(plain), str(streamed)) == (expected.plain, expected.streamed)
    assert (watched.trace(plain.request_id), watched.trace(streamed.request_id)) == expected.traces
    assert watched.comes_to_rest() == expected.after


def fault(
    what: str, prompt: str, *, plain: str, streamed: str = "", trace: str = LOST, http: Mapping[str, str] = SAME
) -> object:
    """A case, with its row in the matrix."""
    row = pytest.mark.fault(
        UPSTREAM, what, plain=plain, streamed=streamed or plain, trace=trace, after="at rest", http=http
    )
    return pytest.param(prompt, marks=row, id=what)


TOO_LONG = "max_duration: max_duration after worker_ready"
STALLED = "stall: stall after worker_ready"
EITHER = f"{TOO_LONG}; streamed: {STALLED}"
"""A plain answer is asked for as a whole, so that silence is none."""
LATE = "upstream_error: upstream_error after streaming"
FAULTS = [
    fault("closes the connection before the headers", "[[drop]]", plain="502 api_error"),
    fault("hangs before the headers", "[[silent]]", plain="504 timeout_error", trace=STALLED, http={"trace": EITHER}),
    fault("hangs after the headers", "[[headers]]", plain="504 timeout_error", trace=STALLED, http={"trace": EITHER}),
    fault(
        "hangs in the middle of its answer",
        "[[n=9]] [[midhang=2]]",
        plain="504 timeout_error",
        streamed="200, error event timeout_error",
        trace="stall: stall after streaming",
        http={"trace": f"{TOO_LONG}; streamed: stall: stall after streaming"},
    ),
    fault(
        "cuts the connection in the middle of its answer",
        "[[n=9]] [[gap=0.05]] [[cut=2]]",
        plain="502 api_error",
        streamed="200, error event api_error",
        trace=MID_STREAM_LOST,
        http={"trace": f"{LOST}; streamed: {MID_STREAM_LOST}"},
    ),
    fault("trickles, seven bytes at a time", "[[n=1]] [[split=7]] [[drip=0.001]]", plain="200", trace="completed"),
    fault("sends an event of 1 MB", "[[huge=1000000]]", plain="200", trace="completed"),
    fault("answers with a web page and status 200", "[[page]]", plain="502 api_error"),
    fault(
        "answers with JSON instead of a stream",
        "[[whole]]",
        plain="502 api_error",
        http={"plain": "200", "trace": f"completed; streamed: {LOST}"},
    ),
    fault(
        "sends an event that is not JSON",
        "[[n=9]] [[gap=0.05]] [[garbage=2]]",
        plain="502 api_error",
        streamed="200, error event api_error",
        trace=MID_STREAM_LOST,
        http={"plain": "200", "streamed": "200", "trace": "completed"},  # passed on as it is
    ),
    fault(
        "sends an error event in the middle of its answer",
        "[[n=9]] [[gap=0.05]] [[miderror=2]]",
        plain="529 overloaded_error",
        streamed="200, error event overloaded_error",
        trace=LATE,
        http={"plain": "200", "trace": f"completed; streamed: {LATE}"},  # a plain answer has no events
    ),
    fault("answers 502 with a web page", "[[status=502]] [[html]]", plain="502 api_error", trace=REFUSED),
]  # fmt: skip


@pytest.mark.parametrize("prompt", FAULTS)
def test_report_upstream_fault_without_losing_resources(watched: Watched, expected: Expected, prompt: str) -> None:
    check(watched, prompt, expected)


STATUSES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 503: "api_error",
    529: "overloaded_error",
}  # fmt: skip


def status_fault(status: int, kind: str, words: str) -> pytest.MarkDecorator:
    """A row of the matrix."""
    told = f"{status} {kind}"
    return pytest.mark.fault(
        UPSTREAM, f"answers {status} {words}", plain=told, streamed=told, trace=REFUSED, after="at rest", http=SAME
    )


BODIES = {"with an error object": "", "without a body": "[[bare]]"}


@every(status_fault(status, kind, words) for status, kind in STATUSES.items() for words in BODIES)
def test_pass_upstream_error_status_with_and_without_body(
    watched: Watched, all_expected: Mapping[str, Expected]
) -> None:
    seen = {}
    for status in STATUSES:
        for words, body in BODIES.items():
            expected = all_expected[f"answers {status} {words}"]
            seen[expected] = [watched.ask(f"[[status={status}]] {body}", stream=stream) for stream in (False, True)]
    for expected, (plain, streamed) in seen.items():
        assert (str(plain), str(streamed)) == (expected.plain, expected.streamed), expected.what
        for each in (plain, streamed):
            assert watched.trace(each.request_id) == expected.trace, expected.what
    assert watched.comes_to_rest() == "at rest"


ODD = (
    "5", "null", "{}", '{"type": 5}', '{"type": "novel"}',
    '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}}',
    '{"type": "content_block_stop", "index": 7}', '{"type": "message_delta", "delta": 5}',
    '{"type": "message_start", "message": 5}',
)  # fmt: skip
"""Each costs a worker or two."""


@pytest.mark.fault(
    UPSTREAM,
    "sends JSON that is not an event of the API",
    plain="200 or 502 api_error",
    streamed="200, or then error event api_error",
    after="at rest",
    http=SAME,
)
def test_treat_json_without_events_as_answer_or_error(watched: Watched, expected: Expected) -> None:
    for odd in ODD:
        for seen in watched.ask_both_ways(f"[[n=3]] [[gap=0.03]] [[odd={odd}]]"):
            assert str(seen) in {"200", "502 api_error", "200, error event api_error"}, odd
    assert watched.comes_to_rest() == expected.after


@pytest.mark.fault(
    UPSTREAM, "refuses connections", plain="502 api_error", streamed="502 api_error", trace=LOST, after="at rest",
    http=SAME,
)  # fmt: skip
def test_answer_502_for_refused_connection_and_ask_again(watched: Watched, road: Forwarder, expected: Expected) -> None:
    road.close()
    try:
        check(watched, "[[n=1]]", expected)
    finally:
        road.open()
    assert str(watched.ask("[[n=1]]")) == "200"
