"""Texts of an attacker's choice in every page that shows them, and in what the socket brings: shown, never run."""

import json

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Watch
from tests.browser.test_dashboard import Call, add_key
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

SCRIPT = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"
EVIL = f"'\"><b id=pwned>{SCRIPT}</b>{{{{7*7}}}}`${{window.pwned=1}}`"
PAGES = (
    "/dashboard/", "/dashboard/requests", "/dashboard/errors?span=all", "/dashboard/sessions", "/dashboard/usage",
    "/dashboard/logs", "/admin/apiproxy/apikey/", "/admin/observability/trace/", "/admin/observability/errordump/",
    f"/dashboard/requests?q={EVIL.replace('#', '')}", f"/admin/observability/trace/?q={EVIL.replace('#', '')}",
)  # fmt: skip


def harmless(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.locator("#pwned").count() == 0
    # Data for scripts is JSON in a script element of that type, which no browser runs.
    inline = "[...document.scripts].filter(it => !it.src && it.type !== 'application/json')"
    assert page.evaluate(f"{inline}.filter(it => it.textContent.includes('pwned')).length") == 0


@pytest.fixture(scope="module")
def hostile(site: Site) -> list[str]:
    """Requests under hostile names that were answered, failed and refused; their ids."""
    headers = {"x-api-key": site.gateway.api_key, "user-agent": EVIL, "x-conversation-id": EVIL[:100]}
    ids = []
    for prompt in ("[[n=2]]", f"[[status=400]] [[message={EVIL}]]", f"[[status=529]] [[type={EVIL}]]"):
        body = {"model": EVIL[:200], "max_tokens": 9, "messages": [{"role": "user", "content": prompt}]}
        answer = httpx.post(f"{site.url}/v1/messages", content=json.dumps(body), headers=headers, timeout=60)
        ids.append(answer.headers["request-id"])
    refused = httpx.post(f"{site.url}/v1/messages", json={"model": EVIL[:200], EVIL: 1}, headers=headers, timeout=60)
    return [*ids, refused.headers["request-id"]]


def test_hostile_names_are_shown_as_text_on_every_page(
    page: Page, site: Site, watch: Watch, hostile: list[str]
) -> None:
    site.sign_in(page)
    add_key(page, site, EVIL[:90])
    harmless(page)
    for request_id in hostile:
        path = f"/dashboard/requests/{request_id}"
        eventually(lambda path=path: page.goto(f"{site.url}{path}").status == 200, within_s=20)  # type: ignore[union-attr, misc]
        harmless(page)
    for path in PAGES:
        response = page.goto(f"{site.url}{path}")
        assert response is not None
        assert response.status == 200, path
        page.wait_for_load_state("networkidle")
        harmless(page)
    page.goto(f"{site.url}/dashboard/requests")
    expect(page.locator("body")).to_contain_text("onerror=window.pwned")
    harmless(page)


def test_hostile_names_that_the_socket_brings_are_shown_as_text(page: Page, site: Site, watch: Watch) -> None:
    site.sign_in(page)
    page.goto(f"{site.url}/dashboard/")
    secret = "[[n=40]] [[gap=0.05]]"
    call = HostileCall(site, secret)
    row = page.locator("tr[data-run]", has_text="onerror").first
    expect(row).to_be_visible()
    harmless(page)
    call.over()
    failed = HostileCall(site, f"[[status=529]] [[message={EVIL}]]")
    failed.over()
    expect(page.locator("#feed li").first).to_be_visible()
    harmless(page)
    assert watch.faults == []


class HostileCall(Call):
    """A streaming request for a model with a hostile name."""

    model = EVIL[:200]
