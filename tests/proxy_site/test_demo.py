"""A demo starts where nothing indicates production, or where it is asked for."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.conf import Credential
from proxy_site.conf import read_gateway, read_site
from proxy_site.upstream.typos import CREDENTIAL_NAMES, MAX_DISTANCE, _comparable, distance


def refusal(env: dict[str, str]) -> str:
    credential = Credential(kind="demo")
    return read_gateway(env, base_dir=Path("/srv"), site=read_site(env), credential=credential).demo_refusal


@pytest.mark.parametrize("host", ["", "127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_allows_a_demo_on_a_loopback_address(host: str) -> None:
    harmless = {"CLAUDE_PROXY_PORT": "9", "CLAUDE_PROXY_HTTPS": "0", "DATABASE_URL": "", "CLAUDE_PROXY_API_KEY": "k"}
    assert refusal({"CLAUDE_PROXY_HOST": host} | harmless) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAUDE_PROXY_HOST", "0.0.0.0"),
        ("CLAUDE_PROXY_HOST", "::"),
        ("CLAUDE_PROXY_HOST", "192.0.2.1"),
        ("CLAUDE_PROXY_HOST", "gateway.example.org"),
        ("CLAUDE_PROXY_HTTPS", "1"),
        ("CLAUDE_PROXY_ALLOWED_HOSTS", "gateway.example.org"),
        ("CLAUDE_PROXY_TRUSTED_PROXIES", "127.0.0.1"),
        ("CLAUDE_PROXY_CSRF_TRUSTED_ORIGINS", "https://gateway.example.org"),
        ("CLAUDE_PROXY_SECRET_KEY", "s"),
        ("CLAUDE_PROXY_NODE", "a"),
        ("DATABASE_URL", "sqlite:////srv/db"),
        ("DATABASE_URL_FILE", "{folder}/database_url"),
        ("REDIS_URL", "redis://cache"),
    ],
)
def test_refuses_a_demo_where_a_setting_indicates_production(name: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "database_url").write_text("sqlite:////srv/db")
    value = value.format(folder=tmp_path)
    said = refusal({name: value})
    assert f"No upstream credential is set, and {name} rules out demo mode" in said
    assert "ANTHROPIC_API_KEY" in said
    assert "CLAUDE_PROXY_DEMO=1" in said
    assert refusal({name: value, "CLAUDE_PROXY_DEMO": "1"}) == ""


def test_refuses_a_demo_that_is_switched_off() -> None:
    assert "CLAUDE_PROXY_DEMO=0" in refusal({"CLAUDE_PROXY_DEMO": "0"})


@pytest.mark.parametrize(
    ("one", "other", "expected"), [("", "", 0), ("abc", "acb", 1), ("abc", "ac", 1), ("abc", "axc", 1), ("ab", "ba", 1)]
)
def test_counts_the_edits_between_two_names(one: str, other: str, expected: int) -> None:
    assert distance(one, other) == distance(other, one) == expected


def test_knows_credentials_that_are_no_misspelling_of_each_other() -> None:
    assert all(distance(one, other) > MAX_DISTANCE for one, other in itertools.combinations(CREDENTIAL_NAMES, 2))


_EDIT = st.tuples(st.integers(0, 40), st.integers(0, 3))


@given(known=st.sampled_from(CREDENTIAL_NAMES), edits=st.lists(_EDIT, max_size=MAX_DISTANCE))
def test_compares_every_name_that_is_near(known: str, edits: list[tuple[int, int]]) -> None:
    name = known
    for at, kind in edits:
        here = at % len(name)
        letters = (name[here + 1 : here + 2] + name[here], "X" + name[here], "", "X")[kind]
        name = name[:here] + letters + name[here + (2 if kind == 0 else 1) :]
    assert _comparable(name, known)
