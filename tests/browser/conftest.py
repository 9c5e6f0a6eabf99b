"""A real Chromium before a real gateway. Where there is no Chromium these tests are skipped; with CI=true they fail."""

import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, StorageState, expect

from tests.support.chromium import chromium
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

ADMIN = "admin"
BREAKER_FAILURES = 20
"""More in a row than any other test makes."""
PAGE_TIMEOUT_MS = 30_000.0


# By module, not by session: its event loop would be in the way of the asynchronous tests of other modules.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


class Site:
    """A gateway with two slots, and its administrator."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.password = gateway.first_login().password
        self.cookies: StorageState | None = None

    @property
    def url(self) -> str:
        return self.gateway.base_url

    def sign_in(self, page: Page) -> None:
        page.goto(f"{self.url}/dashboard/")
        if self.cookies is None:
            self._log_in(page)
        page.wait_for_selector("#connection[data-state=live]")
        self.cookies = page.context.storage_state()

    def _log_in(self, page: Page) -> None:
        page.fill("#id_username", ADMIN)
        page.fill("#id_password", self.password)
        page.click("button[type=submit]")


@pytest.fixture(scope="session")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # A port of its own choice would be another one after a restart, and the page looks for the old one.
    env = {
        "CLAUDE_PROXY_MAX_CONCURRENT": "2",
        "CLAUDE_PROXY_PORT": str(free_port()),
        "CLAUDE_PROXY_BREAKER_FAILURES": str(BREAKER_FAILURES),
        "CLAUDE_PROXY_BREAKER_OPEN_MS": "3000",
    }
    gateway = GatewayProcess(tmp_path_factory.mktemp("browser"), upstream=stand_in.base_url, env=env).start()
    yield Site(gateway)
    gateway.stop()


class Watch:
    """A page's errors: console messages, failed requests, dialogs."""

    def __init__(self, page: Page, site: Site) -> None:
        self.faults: list[str] = []
        self._url = site.url
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self._url}/", "data:")):
            self.faults.append(f"another host: {request.url}")


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    # Signing in takes long on purpose: later tests keep the first one's cookies.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, storage_state=site.cookies)
    context.set_default_timeout(PAGE_TIMEOUT_MS)
    expect.set_options(timeout=PAGE_TIMEOUT_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def watch(page: Page, site: Site) -> Watch:
    return Watch(page, site)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
