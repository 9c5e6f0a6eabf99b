"""The gateway under fire: `manage.py serve` with the bundled CLI in front of the stand-in; is it still well?"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import h11

from apiproxy.core.turns import EngineName
from tests.fuzz.exchange import Answer, Request, fault_of, send
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess, sign_in
from tests.support.processes import is_alive
from tests.support.waiting import eventually

MAX_CONCURRENT = 2
_NOT_LIMITED = 2_000_000_000
_KEYS: dict[str, dict[str, Any]] = {
    "fuzz": {  # with limits that are never reached, so that all of their bookkeeping is done
        "requests_per_minute": _NOT_LIMITED,
        "tokens_per_minute": _NOT_LIMITED,
        "concurrent_runs": 100,
        "budget_total_usd": "9000000",
        "store_bodies": True,
    },
    "operator": {"scopes": ["admin"]},
    "neighbour": {"store_bodies": True},
}
_SETTINGS = {
    "CLAUDE_PROXY_MAX_CONCURRENT": str(MAX_CONCURRENT),
    "CLAUDE_PROXY_HTTP_MAX_CONCURRENT": str(MAX_CONCURRENT),
    "CLAUDE_PROXY_STORE_SESSIONS": "1",
    "CLAUDE_PROXY_UPSTREAM_RETRIES": "0",
    "CLAUDE_PROXY_TRUSTED_PROXIES": "192.0.2.1",
}
POISON = {
    "AWS_SECRET_ACCESS_KEY": "poison",
    "CLAUDE_CODE_EXTRA_BODY": '{"poison": true}',
    "CLAUDE_PROXY_SECRET_KEY": "poison" * 10,
    "DISABLE_TELEMETRY": "poison",
    "GITHUB_TOKEN": "poison",
    "NODE_OPTIONS": "--poison",
    "OTEL_RESOURCE_ATTRIBUTES": "poison=1",
}
"""Variables of a shell that nobody cleaned; nothing of them may reach a worker."""
_EXPECTED_ERRORS = ("request.error",)  # the upstream's own
_OUR_FAULT = b"Internal server error"
_OK = Request(
    b"POST",
    b"/v1/messages",
    body=json.dumps(
        {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "[[n=1]]"}]}
    ).encode(),
)


class Target:
    """The gateway, the keys, and the count of what it was asked."""

    def __init__(self, folder: Path, *, upstream: str, engine: EngineName = "sdk") -> None:
        self._engine = engine
        env = _SETTINGS | POISON | {"CLAUDE_PROXY_ENGINE": engine}
        self.gateway = GatewayProcess(folder, upstream=upstream, env=env, migrated=False).start()
        self.statuses: Counter[int] = Counter()
        self._seen_output = 0
        try:
            self.keys = make_keys(self.gateway, _KEYS)
            self.session = sign_in(self.gateway)
        except BaseException:  # a keyboard interrupt too: nobody else would stop it
            self.gateway.stop()
            raise

    @property
    def cases(self) -> int:
        """Requests so far."""
        return self.statuses.total()

    def ask(self, request: Request, *, key: str = "fuzz") -> Answer:
        """Sends it with that key."""
        answer = send(self.gateway.base_url, [request.encoded(self.keys[key])], method=request.method)
        self.statuses[answer.status] += 1
        return answer

    def check(self, request: Request, *, key: str = "fuzz") -> None:
        """AssertionError with the reason where the answer is not what every answer of the API has to be."""
        answer = self.ask(request, key=key)
        fault = fault_of(request.path, answer, method=request.method.decode("latin-1"))
        assert fault is None, f"{fault}: {request} → {answer}"

    def check_page(self, request: Request) -> None:
        """The same for a browser's page, which is HTML, as somebody who has signed in."""
        cookie = (b"cookie", b"sessionid=" + self.session.encode())
        answer = self.ask(replace(request, headers=(*request.headers, cookie)))
        assert answer.status < 500, f"{request} → {answer}"

    def check_upstream(self, request: Request) -> None:
        """The same where the upstream is at fault: its failures are told, with its own status or 502, and end."""
        answer = self.ask(request)
        assert _OUR_FAULT not in answer.body, f"{request} → {answer}"
        if answer.status >= 500:
            answer.status = 400  # any error of the upstream's is right
        verbatim = self._engine == "http" and request.path == "/v1/messages"
        fault = fault_of(request.path, answer, verbatim=verbatim)
        assert fault is None, f"{fault}: {request} → {answer}"

    def check_wire(self, pieces: list[bytes]) -> None:
        """Checks that malformed HTTP gets an answer like any other, or a closed connection."""
        try:
            answer = send(self.gateway.base_url, pieces, half_close=True)
        except h11.RemoteProtocolError as error:
            raise AssertionError(f"{error}: {pieces!r}") from error
        self.statuses[answer.status] += 1
        if answer.status == 0:
            return
        path = answer.headers.get("content-type", "") and "/"
        assert answer.status < 500, f"{pieces!r} → {answer}"
        assert "html" not in answer.headers.get("content-type", ""), f"{pieces!r} → {answer}"
        assert answer.headers.get("request-id", "").startswith("req_"), f"{path}{pieces!r} → {answer}"
        if answer.status >= 400:
            assert answer.json()["error"], answer

    def check_log(self) -> None:
        """AssertionError with the new lines of the log that tell of an error of ours."""
        output = self.gateway.output
        new, self._seen_output = output[self._seen_output :], len(output)
        crashes = [line[:4000] for line in new.splitlines() if _is_crash(line)]
        assert not crashes, "\n".join(crashes)

    def still_well(self) -> None:
        """It answers, every slot is free, no worker is lost or left over, and the log tells of no error of ours."""
        answer = self.ask(_OK, key="neighbour")  # two impossible counts in a minute are over the limit of the other
        assert answer.status == 200, str(answer)
        eventually(self._is_idle, within_s=20, why="all slots are free again")
        assert is_alive(self.gateway.pid)
        workers = self.gateway.workers()
        assert len(workers) <= (2 * MAX_CONCURRENT + 2 if self._engine == "sdk" else 0), str(workers)
        self.check_log()

    def close(self) -> None:
        """Ends the gateway; it must end well."""
        code = self.gateway.stop()
        assert code == 0, self.gateway.output[-2000:]
        self.check_log()

    def _is_idle(self) -> bool:
        answer = self.ask(Request(b"GET", b"/debug/active"), key="operator").json()
        return answer["queue"]["active"] == answer["queue"]["waiting"] == 0 and not answer["activeRequests"]


def _is_crash(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return "Traceback" in line or "Error" in line
    bad = entry.get("level") in ("error", "critical") or "exception" in entry
    return bad and entry.get("event") not in _EXPECTED_ERRORS
