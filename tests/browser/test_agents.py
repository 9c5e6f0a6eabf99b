"""Running agents as an operator sees them: the overview, the live waterfall of a request, cancelling."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Watch, free_port
from tests.browser.test_accessibility import complaints
from tests.support.gateway import GatewayProcess
from tests.support.scripted_agents import SETTINGS, AgentDesk
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long

MODEL, SEARCH = "claude-sonnet-4-5", "handbook/search"
RUN: list[list[Any]] = [
    ["begin", "m1", "model_call", MODEL],
    ["text", "Let me look. "],
    ["end", "m1"],
    ["begin", "t1", "tool_call", SEARCH, {"arguments": {"query": "opening hours"}}],
    ["wait"],
    ["end", "t1", "", {"result": [{"type": "text", "text": "From 9 to 5"}]}],
    ["begin", "t2", "tool_call", "tickets/note", {"arguments": {"text": "asked"}}],
    ["end", "t2", "timeout"],
    ["begin", "m2", "model_call", MODEL],
    ["wait"],
    ["end", "m2"],
    ["text", "We open at 9."],
]


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_PORT": str(free_port()), "DJANGO_SETTINGS_MODULE": SETTINGS, "PYTHONPATH": "."}
    gateway = GatewayProcess(tmp_path_factory.mktemp("agents"), upstream=stand_in.base_url, env=env).start()
    yield Site(gateway)
    gateway.stop()


@pytest.fixture
def desk(site: Site, page: Page) -> AgentDesk:
    site.sign_in(page)
    return AgentDesk(site.gateway.state_dir)


def test_follow_agent_on_overview_and_cancel_it(page: Page, site: Site, watch: Watch, desk: AgentDesk) -> None:
    run_id = desk.start(RUN)
    row = page.locator(f'tr[data-agent="{run_id}"]')
    expect(row).to_contain_text("support-bot@3")
    expect(row).to_contain_text("1/12")
    expect(row).to_contain_text("handbook/search")
    expect(row).to_contain_text("$0.0064")
    desk.go(run_id)
    expect(row).to_contain_text("2/12")
    expect(row).to_contain_text("asks the model")
    row.get_by_role("button").click()
    page.get_by_role("button", name="Cancel the request").click()
    expect(row).to_have_count(0)
    expect(page.get_by_text("No agent is running.")).to_be_visible()
    page.goto(f"{site.url}/dashboard/requests/{run_id}")
    expect(page.locator("[data-phase-chip]")).to_have_text("cancelled")
    assert watch.faults == []


def test_follow_steps_of_request_without_losing_what_is_open(
    page: Page, site: Site, watch: Watch, desk: AgentDesk
) -> None:
    run_id = desk.start(RUN, store_bodies=True)
    page.goto(f"{site.url}/dashboard/requests/{run_id}")
    steps = page.locator(".d-steps > li")
    expect(steps).to_have_count(2)
    search = page.locator('li[data-key="t1"] details')
    expect(search).to_have_attribute("data-state", "going")
    page.evaluate("window.notReloaded = true")
    search.locator("summary").click()
    expect(search).to_contain_text("opening hours")
    search.locator("summary").focus()
    desk.go(run_id)
    expect(steps).to_have_count(4)
    expect(search).to_have_attribute("data-state", "done")
    expect(search).to_have_attribute("open", "")
    expect(search).to_contain_text("From 9 to 5")
    expect(search.locator("summary")).to_be_focused()
    expect(page.locator('li[data-key="t2"]')).to_contain_text("failed: timeout")
    expect(page.locator('li[data-key="m2"] details')).to_have_attribute("data-state", "going")
    desk.go(run_id)
    expect(page.locator("[data-phase-chip]")).to_have_text("completed")
    expect(page.locator(".d-step[data-state=going]")).to_have_count(0)
    expect(search).to_have_attribute("open", "")
    assert page.evaluate("window.notReloaded")
    assert watch.faults == []


def test_fit_steps_on_a_phone_without_accessibility_issue(page: Page, site: Site, desk: AgentDesk) -> None:
    run_id = desk.start(RUN, store_bodies=True)
    page.emulate_media(reduced_motion="reduce", color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (f"/dashboard/requests/{run_id}", "/dashboard/"):
        page.goto(f"{site.url}{path}")
        expect(page.locator("body")).to_contain_text(re.compile("handbook"))
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert complaints(page) == []
    box = page.locator(f'tr[data-agent="{run_id}"] button').bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
    page.emulate_media(reduced_motion="reduce", color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{site.url}/dashboard/requests/{run_id}")
    page.locator('li[data-key="t1"] summary').click()
    expect(page.locator('li[data-key="t1"]')).to_contain_text("opening hours")
    assert complaints(page) == []
    desk.go(run_id)
    expect(page.locator('li[data-key="m2"]')).to_be_visible()
    desk.go(run_id)
    expect(page.locator("[data-phase-chip]")).to_have_text("completed")


def test_show_hostile_names_of_tools_as_text(page: Page, site: Site, watch: Watch, desk: AgentDesk) -> None:
    evil = "<img src=x onerror=window.pwned=1>'\"{{7*7}}"
    script: list[list[Any]] = [
        ["begin", "m1", "model_call", MODEL],
        ["end", "m1"],
        ["begin", evil, "tool_call", f"{evil}/{evil}", {"arguments": {evil: evil}}],
        ["wait"],
        ["end", evil, evil, {"result": evil}],
    ]
    run_id = desk.start(script, store_bodies=True, key=evil)
    expect(page.locator(f'tr[data-agent="{run_id}"]')).to_contain_text("onerror")
    page.goto(f"{site.url}/dashboard/requests/{run_id}")
    step = page.locator(".d-steps > li").nth(1)
    step.locator("summary").click()
    expect(step.locator("pre").first).to_contain_text("onerror")
    desk.go(run_id)
    expect(step).to_contain_text("failed: <img")
    assert page.evaluate("window.pwned") is None
    assert watch.faults == []
