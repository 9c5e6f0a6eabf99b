"""ENGINE.md §7: the API version and the session headers of each turn, and no `thread` of the CLI's own."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from apiproxy.core.turns import DEFAULT_API_VERSION
from apiproxy.engines.sdk.overlay import overlay_body
from apiproxy.engines.sdk.pool import Pool
from tests.contract.conftest import StartCli, body
from tests.support.engine import engine_request, mark, play, pool_in
from tests.support.raw_cli import CliTurn, RawCli
from tests.support.stand_in import StandInProcess
from tests.upstream import Exchange

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

SESSION = "x-claude-code-session-id"
AGENT = "x-claude-code-agent-id"
OLD, NEW = DEFAULT_API_VERSION, "2026-10-21"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_worker(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """A pool of one process, whose operator has headers of its own."""
    env = {"ANTHROPIC_CUSTOM_HEADERS": "X-Team: red\nAnthropic-Version: 2001-01-01"}
    pool = pool_in(tmp_path_factory.mktemp("workers"), upstream=stand_in.base_url, env=env, max_busy=1)
    assert await pool.warm()
    yield pool
    await pool.close()


async def sent(pool: Pool, stand_in: StandInProcess, **fields: Any) -> Exchange:
    """The upstream request of one turn."""
    prompt = mark()
    await play(pool, engine_request(prompt, **fields))
    return stand_in.only(prompt)


async def test_send_the_version_of_each_turn(one_worker: Pool, stand_in: StandInProcess) -> None:
    versions = [OLD, NEW, NEW, OLD, "2030-01-01", OLD]

    exchanges = [await sent(one_worker, stand_in, api_version=version) for version in versions]

    assert [exchange.headers["anthropic-version"] for exchange in exchanges] == versions
    assert {exchange.headers["x-team"] for exchange in exchanges} == {"red"}


@pytest.mark.parametrize("key_id", [1, 2], ids=["same key", "another key"])
async def test_leave_no_session_header_to_the_next_turn(
    one_worker: Pool, stand_in: StandInProcess, key_id: int
) -> None:
    before = await sent(one_worker, stand_in, key_id=1)
    clients = {SESSION: "session of the client", AGENT: "agent", "user-agent": "theirs", "x-app": "theirs"}

    during = await sent(one_worker, stand_in, key_id=1, api_version=NEW, headers=clients)
    after = await sent(one_worker, stand_in, key_id=key_id)

    assert (during.headers[SESSION], during.headers[AGENT]) == ("session of the client", "agent")
    assert "theirs" not in str(during.headers)
    assert AGENT not in after.headers
    assert (after.headers[SESSION], after.headers["anthropic-version"]) == (before.headers[SESSION], OLD)


async def test_persist_headers_until_they_are_set_again(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    """Why every overlay sets them, the resting one too."""

    def ask(env: Mapping[str, str]) -> str:
        prompt = mark()
        if env:
            warm_cli.control("apply_flag_settings", settings={"env": env})
        warm_cli.turn(body(prompt))
        return stand_in.only(prompt).headers["anthropic-version"]

    seen = [
        ask({"ANTHROPIC_CUSTOM_HEADERS": f"anthropic-version: {NEW}"}),
        ask({}),
        ask({"ANTHROPIC_CUSTOM_HEADERS": f"anthropic-version: {OLD}"}),
    ]

    assert seen == [NEW, NEW, OLD]


async def test_never_send_a_thread_of_its_own(one_worker: Pool, stand_in: StandInProcess) -> None:
    """A `continue` under another client's body would join two conversations."""
    betas = ("message-threads-2026-08-12", "claude-code-20250219")

    exchanges = [await sent(one_worker, stand_in, api_version=NEW, betas=betas) for _ in range(4)]

    assert {exchange.headers["anthropic-beta"] for exchange in exchanges} == {",".join(betas)}
    for exchange in exchanges:
        assert "thread" not in exchange.body
        assert b"previous_message_id" not in exchange.raw


async def test_never_send_a_thread_in_a_longer_conversation(start_cli: StartCli, stand_in: StandInProcess) -> None:
    """The same without the rewind and the limit of one call, so that the CLI has something to continue."""
    cli = start_cli(env={"CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": None})
    betas = ["message-threads-2026-08-12"]
    prompts = [mark() for _ in range(3)]

    for prompt in prompts:
        cli.overlay(overlay_body(body(prompt), model="claude-sonnet-4-5", betas=betas))
        cli.finish(CliTurn(cli.say()))

    for prompt in prompts:
        assert "thread" not in stand_in.only(prompt).body
