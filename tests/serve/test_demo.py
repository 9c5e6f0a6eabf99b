"""A served demo: every response says so; and with settings of production it does not start."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from apiproxy.standin.demo import INTRODUCTION
from tests.support.engine import body_of
from tests.support.gateway import GatewayProcess

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    env = {"CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_REQUEST_TIMEOUT_MS": "500"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("demo"), upstream=None, env=env).start()
    yield gateway
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/messages", 405),
        ("POST", "/v1/chat/completions", 400),
        ("GET", "/nowhere", 404),
        ("GET", "/metrics", 403),
        ("GET", "/admin/login/", 200),
    ],
)
def test_marks_every_response_of_a_demo(demo: GatewayProcess, method: str, path: str, status: int) -> None:
    with demo.http() as client:
        response = client.request(method, path)
    assert (response.status_code, response.headers.get_list("x-proxy-demo")) == (status, ["1"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"])
def test_marks_the_answers_of_a_demo(demo: GatewayProcess, path: str, stream: bool) -> None:
    body = body_of("Hello", model="sonnet") | {"stream": stream}
    with demo.http() as client:
        response = client.post(path, json=body)
        refused = client.post(path, json=body, headers={"x-api-key": "none"})
    assert (response.status_code, refused.status_code) == (200, 401)
    assert response.headers.get_list("x-proxy-demo") == refused.headers.get_list("x-proxy-demo") == ["1"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_answers_a_prompt_with_directives_like_any_other(demo: GatewayProcess, path: str) -> None:
    with demo.http() as client:
        response = client.post(path, json=body_of("[[status=500]]", model="sonnet"))
    assert response.status_code == 200
    assert INTRODUCTION in response.text
    assert "You said: [[status=500]]" in response.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", 401),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", 408),
    ],
)
def test_marks_what_a_demo_refuses_before_it_is_read(demo: GatewayProcess, sent: bytes, status: int) -> None:
    address = urlsplit(demo.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(sent)
        head = connection.recv(65_536).partition(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith(f"http/1.1 {status} ")
    assert head.count("x-proxy-demo: 1") == 1


def test_marks_no_response_where_an_upstream_answers(gateway: GatewayProcess) -> None:
    assert "x-proxy-demo" not in httpx.get(gateway.base_url).headers


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"ANTROPIC_API_KEY": "sk-x", "CLAUDE_PROXY_HTTPS": "1"}, "did you mean ANTHROPIC_API_KEY?"),
        ({"CLAUDE_PROXY_HTTPS": "1"}, "CLAUDE_PROXY_HTTPS rules out demo mode"),
        ({"CLAUDE_PROXY_HOST": "0.0.0.0", "CLAUDE_PROXY_PROCESSES": "2"}, "set CLAUDE_PROXY_DEMO=1"),
    ],
)
def test_starts_no_demo_in_place_of_production(
    env: dict[str, str], said: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = GatewayProcess(tmp_path_factory.mktemp("refused"), upstream=None, env=env)
    with pytest.raises(AssertionError):
        gateway.start()
    assert gateway.process.wait(within_s=30) == 1
    assert said in gateway.output
    assert len(gateway.output.splitlines()) == 1
    assert not (gateway.state_dir / "db.sqlite3").exists()


def test_starts_a_demo_that_is_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    env = {"CLAUDE_PROXY_DEMO": "1", "CLAUDE_PROXY_ALLOWED_HOSTS": "127.0.0.1", "CLAUDE_PROXY_WARM_WORKERS": "1"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("asked"), upstream=None, env=env).start()
    assert gateway.stop() == 0
