"""Heartbeats, and the limits in time, length and number, as a client of an impatient gateway sees them."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.engine import body_of, mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

HEARTBEAT_MS = 100


@pytest.fixture(scope="module")
def impatient(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {
        "CLAUDE_PROXY_HEARTBEAT_MS": HEARTBEAT_MS,
        "CLAUDE_PROXY_STALL_TIMEOUT_MS": 1500,
        "CLAUDE_PROXY_QUEUE_TIMEOUT_MS": 700,
        "CLAUDE_PROXY_MAX_DURATION_MS": 5000,
        "CLAUDE_PROXY_MAX_OUTPUT_CHARS": 2000,
        "CLAUDE_PROXY_MAX_CONCURRENT": 1,
        "CLAUDE_PROXY_QUEUE_MAX": 1,
        "CLAUDE_PROXY_WARM_WORKERS": 1,
    }
    env = {name: str(value) for name, value in settings.items()}
    gateway = GatewayProcess(tmp_path_factory.mktemp("impatient"), upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.stop()


def events_of(text: str) -> list[tuple[str, Any]]:
    """The names and data of a stream's events."""
    found = []
    for part in text.split("\n\n")[:-1]:
        name, data = part.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def streamed(gateway: GatewayProcess, prompt: str) -> list[tuple[str, Any]]:
    with gateway.http() as client:
        response = client.post("/v1/messages", json=body_of(prompt, stream=True))
    assert response.status_code == 200
    return events_of(response.text)


def whole(gateway: GatewayProcess, prompt: str) -> httpx.Response:
    with gateway.http() as client:
        return client.post("/v1/messages", json=body_of(prompt))


class Busy:
    """Somebody else's request that holds the only slot, as long as the block lasts."""

    def __init__(self, gateway: GatewayProcess, stand_in: StandInProcess) -> None:
        self._gateway = gateway
        self._stand_in = stand_in
        self._sent = mark()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def __enter__(self) -> None:
        self._thread.start()
        eventually(lambda: self._stand_in.recorded(containing=self._sent), within_s=20)

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join()

    def _hold(self) -> None:
        body = body_of(f"{self._sent} [[n=1000]] [[gap=0.2]]", stream=True)
        with self._gateway.http() as client, client.stream("POST", "/v1/messages", json=body) as response:
            for _ in response.iter_raw():
                if self._leave.is_set():
                    return


def test_send_pings_during_silence_that_client_ignores(impatient: GatewayProcess) -> None:
    events = streamed(impatient, "[[n=3]] [[gap=0.5]]")

    names = [name for name, _ in events]
    assert names[0] == "message_start"
    assert names.count("ping") >= 5
    assert next(data for name, data in events if name == "ping") == {"type": "ping"}
    with impatient.client().messages.stream(
        model="claude-sonnet-5-5", max_tokens=9, messages=[{"role": "user", "content": "[[n=2]] [[gap=0.3]]"}]
    ) as stream:
        assert list(stream.text_stream) == ["tok0 ", "tok1 "]


def test_end_stalled_stream_with_error_event(impatient: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()

    events = streamed(impatient, f"{sent} [[n=9]] [[midhang=2]]")

    name, data = events[-1]
    assert name == "error"
    assert data["error"] == {"type": "timeout_error", "message": "The upstream sent nothing for 1.5 seconds."}
    assert data["request_id"].startswith("req_")
    assert "message_stop" not in [name for name, _ in events]
    assert stand_in.ended(sent).closed_by_client


@pytest.mark.parametrize("prompt", ["[[silent]]", "[[n=9]] [[midhang=2]]"])
def test_answer_504_to_stall_of_whole_answer(impatient: GatewayProcess, prompt: str) -> None:
    response = whole(impatient, prompt)

    assert response.status_code == 504
    assert response.json()["error"]["type"] == "timeout_error"


def test_answer_504_to_stall_before_first_byte_of_stream(impatient: GatewayProcess) -> None:
    with impatient.http() as client:
        response = client.post("/v1/messages", json=body_of("[[silent]]", stream=True))

    assert response.status_code == 504


@pytest.mark.fault(
    "The upstream",
    "answers for longer than the maximum duration",
    streamed="200, error event timeout_error",
    after="upstream call ended",
)
def test_send_error_event_for_run_over_maximum_duration(impatient: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()

    name, data = streamed(impatient, f"{sent} [[n=1000]] [[gap=0.1]]")[-1]

    assert (name, data["error"]["type"]) == ("error", "timeout_error")
    assert stand_in.ended(sent).closed_by_client


@pytest.mark.fault(
    "The upstream", "sends more output than the maximum", plain="502 api_error", after="upstream call ended"
)
def test_answer_502_to_answer_over_maximum_output(impatient: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()

    response = whole(impatient, f"{sent} [[n=20000]] [[gap=0.0001]]")

    assert response.status_code == 502
    assert response.json()["error"] == {"type": "api_error", "message": "The answer is longer than 2000 characters."}
    assert stand_in.ended(sent).closed_by_client


@pytest.mark.fault("The client", "waits for a slot until the queue timeout", plain="529 overloaded_error, retry-after")
def test_answer_529_with_retry_after_on_queue_timeout(impatient: GatewayProcess, stand_in: StandInProcess) -> None:
    with Busy(impatient, stand_in):
        started = time.monotonic()
        response = whole(impatient, "[[n=1]]")
        waited_s = time.monotonic() - started

    assert response.status_code == 529
    assert response.json()["error"]["type"] == "overloaded_error"
    assert int(response.headers["retry-after"]) >= 1
    assert 0.6 < waited_s < 5


@pytest.mark.fault("The client", "arrives while the queue is full", plain="529 overloaded_error")
def test_reject_at_once_when_queue_is_full(impatient: GatewayProcess, stand_in: StandInProcess) -> None:
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(whole(impatient, "[[n=1]]").status_code)

    with Busy(impatient, stand_in):
        waiting = threading.Thread(target=ask)
        waiting.start()
        with impatient.http() as client:
            eventually(lambda: client.get("/").json()["queue"]["waiting"] == 1)
            response = client.post("/v1/messages", json=body_of("[[n=1]]"))
        assert response.status_code == 529
        assert "full" in response.json()["error"]["message"]
        assert not statuses
        waiting.join()

    assert statuses == [529]


def test_free_queue_place_when_client_leaves(impatient: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    with Busy(impatient, stand_in), impatient.http() as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/messages", json=body_of(f"{sent} [[n=1]]"), timeout=0.3)

        eventually(lambda: client.get("/").json()["queue"]["waiting"] == 0)

    assert stand_in.recorded(containing=sent) == []
    assert whole(impatient, "[[n=1]]").status_code == 200
