"""A key that stops working takes its running and waiting requests with it, in every process."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.limits.gateways import Site, body, make_keys, manage
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

_STREAMS = 6
_LONG = "[[n=3000]] [[gap=0.05]]"
_END = {
    "revoked": "from django.utils import timezone; keys.update(revoked_at=timezone.now())",
    "expired": "from django.utils import timezone; keys.update(expires_at=timezone.now())",
    "deleted": "keys.delete()",
}


class Stream(threading.Thread):
    """A client that reads a streamed answer to its end."""

    def __init__(self, site: Site, key: str, prompt: str) -> None:
        super().__init__(daemon=True)
        self._site, self._key, self._body = site, key, body(prompt, stream=True)
        self.status = 0
        self.events: list[dict[str, Any]] = []
        self.start()

    def run(self) -> None:
        url, headers = f"{self._site.first.base_url}/v1/messages", {"x-api-key": self._site.secrets[self._key]}
        with httpx.stream("POST", url, json=self._body, headers=headers, timeout=60) as answer:
            self.status = answer.status_code
            for line in answer.iter_lines():
                if line.startswith(("data: ", "{")):
                    self.events.append(json.loads(line.removeprefix("data: ")))

    @property
    def begun(self) -> bool:
        return any(event["type"] == "content_block_delta" for event in self.events)


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_PROCESSES": "2", "CLAUDE_PROXY_MAX_CONCURRENT": "3", "CLAUDE_PROXY_WARM_WORKERS": "0"}
    folder: Path = tmp_path_factory.mktemp("revocation")
    gateway = GatewayProcess(folder, upstream=stand_in.base_url, env=env).start()
    yield Site([gateway], make_keys(gateway, {name: {} for name in (*_END, "other")}))
    gateway.stop()


@pytest.mark.parametrize("how", _END)
def test_ends_the_requests_of_a_key_that_ended(site: Site, how: str) -> None:
    streams = [Stream(site, how, f"{_LONG} {number}") for number in range(2 * _STREAMS)]  # more than there are slots
    other = Stream(site, "other", "[[n=100]] [[gap=0.02]]")
    eventually(lambda: sum(stream.begun for stream in streams) >= _STREAMS - 1, within_s=30)
    script = f"from apiproxy.models import ApiKey; keys = ApiKey.objects.filter(name={how!r}); {_END[how]}"
    manage(site.first, "shell", "-c", script)
    eventually(lambda: not any(stream.is_alive() for stream in streams), within_s=20)
    for stream in streams:
        last = stream.events[-1]
        assert (last["type"], last["error"]["type"]) == ("error", "authentication_error"), stream.status
        assert stream.status == (200 if stream.begun else 401)
    assert any(stream.begun for stream in streams)
    assert any(stream.status == 401 for stream in streams)
    eventually(lambda: not other.is_alive(), within_s=60)
    assert (other.status, other.events[-1]["type"]) == (200, "message_stop")
