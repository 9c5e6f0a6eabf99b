"""One gateway as it stands behind a reverse proxy, and each of the shipped proxies before it."""

import secrets
from collections.abc import Iterator

import pytest

from tests.deploy.fronts import HOST, Front, Starter, caddy, find, nginx, nobody, running
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

_STARTERS: dict[str, Starter] = {"nginx": nginx, "caddy": caddy}
BEHIND_A_PROXY = {
    "CLAUDE_PROXY_ALLOWED_HOSTS": HOST,
    "CLAUDE_PROXY_HTTPS": "1",
    "CLAUDE_PROXY_TRUSTED_PROXIES": "127.0.0.1",
}
SHARED_KEY = f"sk-test-{secrets.token_urlsafe(24)}"


@pytest.fixture(scope="package")
def behind(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the settings that the examples ask for. Shared: leave it running."""
    env = {**BEHIND_A_PROXY, "CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_API_KEY": SHARED_KEY}
    gateway = GatewayProcess(tmp_path_factory.mktemp("behind"), upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="package")
def administrator(behind: GatewayProcess) -> tuple[str, str]:
    """The name and password that `behind` made at its first start."""
    login = behind.first_login()
    return login.name, login.password


@pytest.fixture(scope="package", params=_STARTERS)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Each shipped reverse proxy before `behind` and a second gateway that is down."""
    find(request.param)
    gateway: GatewayProcess = request.getfixturevalue("behind")
    port = int(gateway.base_url.rsplit(":", 1)[1])
    with nobody() as down, running(_STARTERS[request.param], tmp_path_factory.mktemp("front"), [down, port]) as it:
        yield it
