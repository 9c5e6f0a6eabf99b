"""A dashboard page that is open during a renewal or a stop: it delays neither, and comes back by itself."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import chromium
from tests.support.engine import body_of
from tests.support.gateway import GatewayProcess, sign_in
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

RENEWED_S = 150.0
"""For a machine that is busy. A process that does not leave is killed and does not log that it stopped."""
DRAIN_MS = 25_000
PAGE_TIMEOUT_MS = 30_000.0

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.long]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def gateway(request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        "CLAUDE_PROXY_PROCESSES": str(request.param),
        "CLAUDE_PROXY_WARM_WORKERS": "1",
        "CLAUDE_PROXY_MAX_CONCURRENT": "2",
        "CLAUDE_PROXY_PORT": str(port),
        "CLAUDE_PROXY_DRAIN_TIMEOUT_MS": str(DRAIN_MS),
    }
    process = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    yield process
    process.stop()


def opened(browser: Browser, gateway: GatewayProcess) -> Page:
    page = browser.new_page()
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    expect.set_options(timeout=PAGE_TIMEOUT_MS)
    page.context.add_cookies([{"name": "sessionid", "value": sign_in(gateway), "url": gateway.base_url}])
    page.goto(f"{gateway.base_url}/dashboard/")
    page.wait_for_selector("#connection[data-state=live]")
    return page


def test_renews_every_process_with_a_page_open(browser: Browser, gateway: GatewayProcess) -> None:
    page, before = opened(browser, gateway), gateway.servers()
    page.evaluate(
        "() => { window.states = []; const it = document.getElementById('connection');"
        " new MutationObserver(() => states.push(it.dataset.state)).observe(it, {attributes: true}); }"
    )
    gateway.process.send_signal(signal.SIGHUP)
    eventually(lambda: "All processes have been replaced." in gateway.output, within_s=RENEWED_S)
    assert not {it.pid for it in before} & {it.pid for it in gateway.servers()}
    assert gateway.output.count("proxy.stopped") == len(before)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    assert page.evaluate("states") == ["offline", "live"] * (len(page.evaluate("states")) // 2) != []
    with gateway.http() as client:
        assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
    page.context.close()


def test_stops_quickly_with_a_page_open(browser: Browser, gateway: GatewayProcess) -> None:
    page, before = opened(browser, gateway), gateway.servers()
    gateway.process.terminate()
    assert gateway.process.wait(within_s=RENEWED_S) == 0
    assert gateway.output.count("proxy.stopped") == len(before)
    expect(page.locator("#connection")).to_have_attribute("data-state", "offline")
    page.context.close()
