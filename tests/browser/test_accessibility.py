"""Every page, light and dark, on a phone and wide, as axe judges it: names, contrast, landmarks, keyboard."""

import functools
import importlib.util
import os
import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_dashboard import PAGES, Call
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

_PAGES = (*PAGES, "/dashboard/requests/req_none", "/admin/observability/storedbody/", "/admin/auth/group/add/")


@functools.cache
def axe() -> str:
    """axe-core, as a package of the development's dependencies brings it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        assert os.environ.get("CI") != "true", "CI must have axe-playwright-python"
        pytest.skip("axe-playwright-python is not installed")
    return Path(found.origin).with_name("axe.min.js").read_text()


def complaints(page: Page) -> list[str]:
    """Violations that axe reports for the current page."""
    page.evaluate(axe())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("path", _PAGES)
def test_find_no_accessibility_issue_in_any_theme_and_width(page: Page, site: Site, path: str) -> None:
    site.sign_in(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(f"{site.url}{path}")
    page.wait_for_load_state("networkidle")
    assert complaints(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.reload()
    page.wait_for_load_state("load")
    expect(page.locator("html")).to_contain_class("dark")
    assert complaints(page) == []


def test_find_no_fault_on_failed_request_and_its_dump(page: Page, site: Site) -> None:
    site.sign_in(page)
    call = Call(site, "[[status=529]]")
    call.over()
    for path in (f"/dashboard/requests/{call.id}", f"/admin/observability/errordump/{call.id}/change/"):
        eventually(functools.partial(_is_there, page, f"{site.url}{path}"), within_s=10)
        expect(page.locator("main, [role=main]")).to_contain_text(re.compile("upstream[ _]error"))
        assert complaints(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_find_no_accessibility_issue_in_filtered_list(page: Page, site: Site, theme: Literal["light", "dark"]) -> None:
    site.sign_in(page)
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(f"{site.url}/admin/apiproxy/apikey/")
    page.locator("input[name=_selected_action]").first.check()
    expect(page.get_by_label("Select action to run")).to_be_visible()
    assert complaints(page) == []
    page.locator("input[name=_selected_action]").first.uncheck()
    page.get_by_text("Filters").first.click()
    expect(page.get_by_role("heading", name="By state")).to_be_visible()
    assert complaints(page) == []


def _is_there(page: Page, url: str) -> bool:
    response = page.goto(url)
    return response is not None and response.status == 200


def test_reach_navigation_of_narrow_screen_by_keyboard(page: Page, site: Site) -> None:
    site.sign_in(page)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site.url}/admin/")
    expect(page.get_by_role("link", name="Requests")).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_attribute("aria-label", "Navigation")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Requests")).to_be_visible()
