"""A lock on one session's row in PostgreSQL delays only that conversation and loses none of its turns."""

import secrets
import time
from collections.abc import Iterator

import pytest

from tests.limits.gateways import Site
from tests.limits.test_row_locks import PROMPT_S, locked
from tests.sessions.test_append import append, gateway_site, session
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.xdist_group("limits")
_LOCK = "SELECT * FROM apiproxy_session WHERE conversation_id = %s FOR UPDATE"


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from gateway_site(
        tmp_path_factory.mktemp("rows"), stand_in, DATABASE_URL=postgres_url, CLAUDE_PROXY_SESSION_MAX="3"
    )


def test_delay_the_locked_conversation_alone(site: Site, postgres_url: str) -> None:
    mine, another = secrets.token_hex(8), secrets.token_hex(8)
    assert append(site, mine, "[[say=ok]] one").status_code == 200
    with locked(postgres_url, _LOCK, mine):
        answer = append(site, mine, "[[say=ok]] two")
        assert answer.status_code == 200
        assert "pending" in answer.headers["x-conversation-unstored"]
        refused = append(site, mine, "[[say=ok]] three")
        assert refused.status_code == 503, "its last turn is not kept yet"
        began = time.monotonic()
        others = [append(site, another, "[[say=ok]] hi", key=key) for key in ("storing", "other") for _ in range(3)]
        assert time.monotonic() - began < PROMPT_S * len(others)
        assert [it.status_code for it in others] == [200] * 6
        assert [it.headers["x-conversation-messages"] for it in others] == ["0", "2", "4"] * 2
        assert all("x-conversation-unstored" not in it.headers for it in others)
    eventually(lambda: session(site, mine)["turnCount"] == 2, within_s=10)
    following = append(site, mine, "[[say=ok]] four")
    assert (following.status_code, following.headers["x-conversation-messages"]) == (200, "4")
    assert "x-conversation-unstored" not in following.headers


def test_evict_others_while_the_oldest_is_locked(site: Site, postgres_url: str) -> None:
    names = [secrets.token_hex(8) for _ in range(5)]
    assert append(site, names[0], "[[say=ok]] hi", key="other").status_code == 200
    with locked(postgres_url, _LOCK, names[0]):
        answers = [append(site, name, "[[say=ok]] hi", key="other") for name in names[1:]]
        assert [it.status_code for it in answers] == [200] * 4
        assert all("x-conversation-unstored" not in it.headers for it in answers)
    assert session(site, names[4], key="other")["turnCount"] == 1
