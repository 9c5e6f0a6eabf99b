"""The dashboard as an operator sees it."""

import json
import threading
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import BREAKER_FAILURES, Site, Watch
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

PAGES = (
    "/dashboard/", "/dashboard/requests", "/dashboard/errors", "/dashboard/sessions", "/dashboard/workers",
    "/dashboard/usage", "/dashboard/logs", "/admin/", "/admin/apiproxy/apikey/", "/admin/apiproxy/apikey/add/",
    "/admin/apiproxy/model/", "/admin/observability/trace/", "/admin/observability/errordump/", "/admin/auth/user/",
)  # fmt: skip


class Call:
    """A streaming request of a client, on a thread of its own."""

    model = "sonnet"

    def __init__(self, site: Site, prompt: str, *, key: str | None = None) -> None:
        self._url = f"{site.url}/v1/messages"
        self._headers = {"x-api-key": key or site.gateway.api_key}
        self._prompt = prompt
        self.lines: list[str] = []
        self.status = 0
        self.id = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        body = {
            "model": self.model, "max_tokens": 500, "stream": True,
            "messages": [{"role": "user", "content": self._prompt}],
        }  # fmt: skip
        with httpx.stream("POST", self._url, headers=self._headers, json=body, timeout=60) as response:
            self.status, self.id = response.status_code, response.headers.get("request-id", "")
            self.lines.extend(response.iter_lines())

    def over(self, *, within_s: float = 60.0) -> str:
        eventually(lambda: not self._thread.is_alive(), within_s=within_s, why="the stream's end")
        return "\n".join(self.lines)


@pytest.fixture
def overview(page: Page, watch: Watch, site: Site) -> Iterator[Page]:
    site.sign_in(page)
    page.evaluate("window.notReloaded = true")
    yield page
    assert page.evaluate("window.notReloaded")


def add_key(page: Page, site: Site, name: str) -> str:
    page.goto(f"{site.url}/admin/apiproxy/apikey/add/")
    page.fill("#id_name", name)
    page.click("button[name=_save]")
    secret = page.locator("#main li code").first.inner_text()
    expect(page.get_by_role("button", name="Copy the secret")).to_be_visible()
    return secret


def test_update_list_live_from_start_to_end_of_request(page: Page, watch: Watch, site: Site) -> None:
    site.sign_in(page)
    secret = add_key(page, site, "browser-key")
    page.goto(f"{site.url}/dashboard/")
    page.evaluate("window.notReloaded = true")
    call = Call(site, "[[first=2]] [[n=60]] [[gap=0.05]]", key=secret)
    row = page.locator("tr[data-run]", has_text="browser-key")
    expect(row).to_be_visible()
    expect(row.locator(".d-chip")).not_to_have_text("streaming")
    expect(row.locator(".d-chip")).to_have_text("streaming")
    expect(row).to_contain_text("chars/s")
    assert "message_stop" in call.over()
    expect(row.locator(".d-chip")).to_have_text("completed")
    expect(row).to_have_count(0)
    assert page.evaluate("window.notReloaded")
    assert watch.faults == []


def test_fill_timeline_from_before_page_was_opened(page: Page, site: Site, watch: Watch) -> None:
    site.sign_in(page)
    call = Call(site, "[[n=120]] [[gap=0.05]]")

    def remembered() -> bool:
        text = page.request.get(f"{site.url}/dashboard/").text()
        snapshot = text.partition('id="snapshot" type="application/json">')[2].partition("</script>")[0]
        return 1 in json.loads(snapshot)["load"]["active"]

    eventually(remembered, within_s=20)
    assert "message_stop" in call.over()
    page.goto(f"{site.url}/dashboard/")
    expect(page.locator("[data-tile=running] [data-value]")).to_have_text("0")
    line = page.locator("[data-tile=running] [data-spark] path").last.get_attribute("d")
    assert line is not None
    heights = {point.split()[1] for point in line.removeprefix("M").split("L")}
    assert len(heights) > 1, line
    assert watch.faults == []


def test_show_position_in_queue(overview: Page, site: Site, watch: Watch) -> None:
    calls = [Call(site, "[[n=60]] [[gap=0.05]]") for _ in range(4)]
    expect(overview.locator(".d-chip", has_text="queued, 1 in line")).to_be_visible()
    expect(overview.locator(".d-chip", has_text="queued, 2 in line")).to_be_visible()
    expect(overview.locator("[data-live-count]")).to_contain_text("2 of 2 slots, 2 queued")
    for call in calls:
        assert "message_stop" in call.over()
    expect(overview.locator("tr[data-run]")).to_have_count(0)
    assert watch.faults == []


def test_show_upstream_error_in_feed_with_link(overview: Page, site: Site, watch: Watch) -> None:
    call = Call(site, "[[status=529]] [[message=busy in the browser test]]")
    call.over()
    item = overview.locator("#feed li", has_text="529").first
    expect(item).to_contain_text("upstream error")
    item.locator("a").click()
    expect(overview.get_by_role("heading", name="Time by phase")).to_be_visible()
    overview.evaluate("window.notReloaded = true")  # another page, on purpose
    assert watch.faults == []


def test_cancel_ends_the_clients_stream(overview: Page, site: Site, watch: Watch) -> None:
    call = Call(site, "[[n=2000]] [[gap=0.1]]")
    row = overview.locator("tr[data-run]")
    expect(row.locator(".d-chip")).to_have_text("streaming")
    row.get_by_role("button").click()
    overview.get_by_role("button", name="Cancel the request").click()
    text = call.over()
    assert "event: error" in text
    assert "message_stop" not in text
    expect(row).to_have_count(0)
    assert watch.faults == []


def test_cancel_request_by_keyboard_alone(overview: Page, site: Site, watch: Watch) -> None:
    call = Call(site, "[[n=2000]] [[gap=0.1]]")
    row = overview.locator("tr[data-run]")
    expect(row.locator(".d-chip")).to_have_text("streaming")
    overview.locator(".d-live").focus()
    for name in (call.id[-8:], "Cancel"):
        overview.keyboard.press("Tab")
        expect(overview.locator(":focus")).to_contain_text(name)
    overview.keyboard.press("Enter")
    expect(overview.locator("dialog :focus")).to_have_text("Keep it")
    overview.keyboard.press("Escape")
    expect(overview.locator(":focus")).to_have_text("Cancel")
    overview.keyboard.press("Enter")
    overview.keyboard.press("Tab")
    overview.keyboard.press("Enter")
    assert "event: error" in call.over()
    expect(row).to_have_count(0)
    assert watch.faults == []


def test_follow_request_to_its_end(overview: Page, site: Site, watch: Watch) -> None:
    call = Call(site, "[[n=80]] [[gap=0.05]]")
    overview.locator("tr[data-run] a.d-id").click()
    expect(overview.locator("[data-phase-chip]")).to_have_text("streaming")
    overview.evaluate("window.notReloaded = true")
    assert "message_stop" in call.over()
    expect(overview.locator("[data-phase-chip]")).to_have_text("completed")
    expect(overview.get_by_text("Streaming", exact=True)).to_be_visible()
    assert watch.faults == []


def test_reconnect_page_after_restart(overview: Page, site: Site) -> None:
    site.gateway.stop()
    expect(overview.locator("#connection")).to_have_attribute("data-state", "offline")
    site.gateway.start()
    expect(overview.locator("#connection")).to_have_attribute("data-state", "live")
    call = Call(site, "[[n=40]] [[gap=0.05]]")
    expect(overview.locator("tr[data-run]")).to_have_count(1)
    assert "message_stop" in call.over()
    expect(overview.locator("tr[data-run]")).to_have_count(0)


def test_replace_retired_worker(page: Page, site: Site, watch: Watch) -> None:
    site.sign_in(page)
    page.goto(f"{site.url}/dashboard/workers")
    row = page.locator("#workers tbody tr", has=page.locator("[data-state=idle]")).first
    expect(row).to_be_visible()
    name = row.locator("td").first.inner_text().split()[0]
    row.get_by_role("button").click()
    page.get_by_role("button", name="Retire it").click()
    expect(page.locator("#workers tbody tr", has_text=name)).to_have_count(0)
    assert watch.faults == []


@pytest.mark.parametrize("path", PAGES)
def test_give_page_title_phone_layout_and_no_foreign_host(page: Page, site: Site, watch: Watch, path: str) -> None:
    site.sign_in(page)
    page.set_viewport_size({"width": 375, "height": 812})
    response = page.goto(f"{site.url}{path}")
    assert response is not None
    assert response.status == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'unsafe-eval'" in policy
    page.wait_for_load_state("networkidle")
    assert "Claude gateway" in page.title()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert watch.faults == []


def test_show_open_breaker_first_on_overview(overview: Page, site: Site) -> None:
    for _ in range(BREAKER_FAILURES):
        Call(site, "[[status=503]]").over()
    health = overview.locator("#health")
    expect(health).to_contain_text(f"The upstream has failed {BREAKER_FAILURES} times in a row")
    expect(health).to_have_attribute("data-level", "bad")

    def answered() -> bool:
        call = Call(site, "[[n=1]]")
        call.over()
        return call.status == 200

    eventually(answered, within_s=20)
    expect(health).not_to_contain_text("in a row")
