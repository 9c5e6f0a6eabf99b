"""A whole gateway with the real CLI: what is told of its requests, and what is kept of their words."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

WORDS = "the merger with Initech is on 2031-05-17 code ZX81-QUARTZ-4411"
SECRET = "sk-ant-api03-in-a-prompt-0123456789"
FOREIGN_KEY = "sk-somebody-elses-key-0123456789"


@pytest.fixture(scope="module")
def observed(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Observed"]:
    process = GatewayProcess(tmp_path_factory.mktemp("observed"), upstream=stand_in.base_url).start()
    yield Observed(process)
    process.stop()


class Observed:
    """A gateway and a key of scope `admin` for it."""

    def __init__(self, process: GatewayProcess) -> None:
        self.process = process
        self.key = make_keys(process, {"operator": {"scopes": ["api", "admin"]}})["operator"]

    def operator(self) -> httpx.Client:
        """A client that may see operations."""
        return self.process.http(**{"x-api-key": self.key})

    def get(self, path: str) -> Any:
        """Answer of the path."""
        with self.operator() as client:
            return client.get(path).raise_for_status().json()

    def ended(self, request_id: str) -> Any:
        """The trace of the request, once it is over and written."""

        def read() -> Any:
            with self.operator() as client:
                response = client.get(f"/debug/traces/{request_id}")
            return response.json() if response.status_code == 200 and response.json()["status"] != "active" else None

        return eventually(read, within_s=20, why=request_id)


def ask(gateway: Observed, text: str, *, stream: bool = False, key: str | None = None) -> httpx.Response:
    body = {"model": "sonnet", "max_tokens": 99, "stream": stream, "messages": [{"role": "user", "content": text}]}
    with gateway.process.http(**({"x-api-key": key} if key else {})) as client:
        return client.post("/v1/messages", json=body)


def leave(gateway: Observed, text: str) -> str:
    """Asks for a stream and goes away after its first bytes; the request's id."""
    body = {"model": "sonnet", "max_tokens": 99, "stream": True, "messages": [{"role": "user", "content": text}]}
    with gateway.process.http() as client, client.stream("POST", "/v1/messages", json=body) as response:
        next(response.iter_bytes())
        return response.headers["request-id"]


def test_store_right_trace_for_every_outcome(observed: Observed) -> None:
    well = ask(observed, "[[n=12]]", stream=True).headers["request-id"]
    plain = ask(observed, "[[n=5]] [[tool=look:{}]]").headers["request-id"]
    overloaded = ask(observed, "[[status=429]] [[message=slow down]]")
    nobody = ask(observed, "hello", key=FOREIGN_KEY)
    with observed.process.http() as client:
        wrong = client.post("/v1/messages", content=b"{not json")
    gone = leave(observed, "[[n=500]] [[gap=0.05]]")

    trace = observed.ended(well)
    assert (trace["status"], trace["endReason"], trace["stopReason"]) == ("completed", "completed", "end_turn")
    times = list(trace["phases"].values())
    assert len(times) == 8
    assert times == sorted(times)
    assert trace["eventTypes"]["content_block_delta"] == 12
    assert trace["outputLen"] > 0
    assert trace["timings"]["ttftMs"] <= trace["timings"]["totalDurationMs"]
    assert observed.ended(plain)["toolCallCount"] == 1
    failure = observed.ended(overloaded.headers["request-id"])
    assert (failure["endReason"], failure["error"]["upstreamStatus"]) == ("upstream_error", 429)
    assert failure["error"]["message"] == "slow down"
    dump = observed.get(f"/debug/errors/{failure['reqId']}")["dump"]
    assert dump["error"]["type"] == "upstream_error"
    assert dump["diagnostics"]["workerPid"] == failure["workerPid"]
    assert observed.ended(gone)["endReason"] == "client_disconnect"
    for refused, kind in ((nobody, "unauthenticated"), (wrong, "invalid_request")):
        trace = observed.ended(refused.headers["request-id"])
        assert (trace["endReason"], trace["error"]["type"]) == ("refused", kind)


def test_trace_chat_refused_after_translation_as_asked_for(observed: Observed) -> None:
    body = {"model": "sonnet", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with observed.process.http(**{"x-conversation-mode": "unknown"}) as client:
        refused = client.post("/v1/chat/completions", json=body)

    assert refused.status_code == 400
    trace = observed.ended(refused.headers["request-id"])
    assert (trace["requestedModel"], trace["stream"], trace["endReason"]) == ("sonnet", True, "refused")


def test_totals_of_statistics_metrics_and_rows_are_the_same(observed: Observed) -> None:
    for text in ("[[n=3]]", "[[status=529]]", "[[n=2]] [[out=7]]"):
        ask(observed, text)
    observed.ended(ask(observed, "[[n=3]]").headers["request-id"])
    totals = observed.get("/debug/stats")["requests"]
    rows: list[dict[str, Any]] = []
    with observed.operator() as client:
        path: str | None = "/debug/traces?limit=50"
        while path:
            response = client.get(path).raise_for_status()
            rows += response.json()
            path = response.links["next"]["url"] if "next" in response.links else None
        metrics = client.get("/metrics").raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
    counted = sum(sample.value for sample in samples if sample.name == "claude_proxy_requests_total")
    output = sum(
        sample.value
        for sample in samples
        if sample.name == "claude_proxy_tokens_total" and sample.labels["kind"] == "output"
    )

    assert totals["total"] == len(rows) == counted
    assert totals["errors"] == sum(row["status"] == "error" for row in rows)
    assert totals["usage"]["output_tokens"] == sum(row["usage"]["output_tokens"] for row in rows) == output


def test_end_running_request_by_operator(observed: Observed) -> None:
    body = {"model": "sonnet", "max_tokens": 99, "stream": True}
    body["messages"] = [{"role": "user", "content": "[[n=5]] [[midhang=3]]"}]
    with observed.process.http() as client, client.stream("POST", "/v1/messages", json=body) as response:
        request_id = response.headers["request-id"]
        lines = response.iter_lines()
        next(lines)
        (active,) = observed.get("/debug/active")["activeRequests"]
        assert active["reqId"] == request_id
        with observed.operator() as operator:
            assert operator.post(f"/debug/active/{request_id}/cancel").status_code == 202
        list(lines)

    assert observed.ended(request_id)["endReason"] == "cancelled"


def test_neither_words_nor_secrets_are_in_any_row_dump_or_line(observed: Observed) -> None:
    body: dict[str, Any] = {
        "model": "sonnet",
        "max_tokens": 99,
        "system": f"You know that {WORDS}",
        "tools": [{"name": "tool_ZX81_7", "description": WORDS, "input_schema": {"type": "object"}}],
        "metadata": {"user_id": "person-4711-8822"},
    }
    echoes = (
        f"{WORDS} {SECRET} [[n=3]]",
        f"{WORDS} [[status=400]] [[message=messages.0: cannot take '{WORDS}' {SECRET}]]",
        f"{WORDS} [[miderror=2]] [[message={WORDS}]]",
        f"{WORDS} [[cut=2]]",
        f"{WORDS} [[garbage=2]]",
    )
    ids = []
    with observed.process.http(authorization=f"Bearer {FOREIGN_KEY}") as client:
        for echo in echoes:
            messages = [{"role": "user", "content": echo}]
            for more in ({}, {"temperature": WORDS}, {"tools": WORDS}, {"messages": WORDS}):
                response = client.post("/v1/messages", json=body | {"messages": messages} | more)
                ids.append(response.headers["request-id"])
    ids += failing_elsewhere(observed)
    ask(observed, WORDS, key=SECRET)
    with contextlib.suppress(anthropic.APIError), observed.process.client(api_key=FOREIGN_KEY) as official:
        official.messages.create(model="sonnet", max_tokens=9, messages=[{"role": "user", "content": WORDS}])
    for request_id in ids:
        observed.ended(request_id)
    observed.get("/debug/stats")

    kept = [*observed.process.state_dir.glob("*.sqlite3*"), *(observed.process.state_dir / "logs").iterdir()]
    assert len(kept) >= 2
    held = b"\n".join([*(path.read_bytes() for path in kept), observed.process.output.encode()])
    assert ids[0].encode() in held
    for word in (
        "Initech",
        "2031-05-17",
        "ZX81",
        SECRET,
        FOREIGN_KEY,
        "person-4711-8822",
        observed.process.api_key,
        observed.key,
    ):
        assert word.encode() not in held, word
    dumps = json.dumps(
        [observed.get(f"/debug/errors/{row['reqId']}") for row in observed.get("/debug/errors?limit=99")]
    )
    assert "Initech" not in dumps


def failing_elsewhere(gateway: Observed) -> list[str]:
    """Requests that say the words in the OpenAI dialect, and in a session of a key that keeps nothing; their ids."""
    messages = [{"role": "user", "content": f"{WORDS} [[status=400]] [[message=cannot take '{WORDS}']]"}]
    history = [{"role": "user", "content": WORDS}, {"role": "assistant", "content": WORDS}]
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"messages": messages}),
        ("/v1/chat/completions", {"messages": [{"role": "system", "content": WORDS}, {"role": "user", "content": 4}]}),
        ("/v1/responses", {"instructions": WORDS, "input": messages[0]["content"]}),
        ("/v1/responses", {"input": [{"type": WORDS, "role": WORDS}]}),
        ("/v1/messages", {"max_tokens": 9, "messages": history[:1]}),
        ("/v1/messages", {"max_tokens": 9, "messages": [*history, *messages]}),
    ]
    with gateway.process.http(**{"x-conversation-id": "kept-by-nobody"}) as client:
        return [client.post(path, json={"model": "sonnet", **body}).headers["request-id"] for path, body in bodies]


def test_exclude_earlier_turns_of_worker_from_dump(observed: Observed) -> None:
    def asked(text: str) -> tuple[str, int]:
        request_id = ask(observed, text).headers["request-id"]
        return request_id, observed.ended(request_id)["workerPid"]

    _, theirs = asked(f"[[status=400]] [[message=cannot take {WORDS}]]")
    for _ in range(10):  # the worker is given back just after its answer, so another may have the next
        ours, worker = asked("[[status=400]] [[message=no merger here]]")
        if worker == theirs:
            break
    assert worker == theirs
    dump = json.dumps(observed.get(f"/debug/errors/{ours}")["dump"])
    assert "stderrTail" in dump
    assert "no merger here" in dump
    assert "Initech" not in dump
