"""The host that a URL names, and nothing that another parser could see in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.hosts import host_of, host_pattern, matches_host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        *[("https://a.example/mcp", "a.example"), ("HTTPS://A.Example:8443", "a.example")],
        *[("https://a.example.", "a.example"), ("http://127.0.0.1:80/x", "127.0.0.1"), ("https://[::1]/", "::1")],
        *[("https://a.example/@b.example", "a.example"), ("https://a.example?@b", "a.example")],
        *[("https://xn--bcher-kva.example", "xn--bcher-kva.example"), ("https://a.example#@b", "a.example")],
    ],
)
def test_reads_the_host_of_a_plain_url(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url",
    [
        *[
            "https://good.example@evil.example/",
            "https://good.example:pw@evil.example",
            "https://evil.example\\@good.example",
        ],
        *[
            "https://evil.example\\.good.example",
            "https:///good.example",
            "https:good.example",
            "//good.example",
            "good.example",
        ],
        *["ftp://good.example", "javascript://good.example/%0a", "https://good%2eexample", "https://%67ood.example"],
        *[
            "https://g\u043e\u043ed.example",
            "https://good\u3002example",
            "https://good.example\u2100",
            "https://good\t.example",
        ],
        *[
            " https://good.example",
            "https://good.example\n",
            "https://good..example",
            "https://.good.example",
            "https://",
        ],
        *[
            "https://127.1",
            "https://0x7f.0.0.1",
            "https://2130706433",
            "https://0177.0.0.1",
            "https://1.2.3.4.5",
            "https://a.0x1",
        ],
        *["https://good.example:x", "https://good.example:99999", "https://[::1]good.example", "https://[::1%25eth0]"],
        *["https://good.example" + "/a" * 5_000, "https://" + "a." * 200 + "example", "https://-good.example"],
    ],
)
def test_refuses_a_url_that_can_be_read_in_two_ways(url: str) -> None:
    assert host_of(url) is None


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        *[("a.example", "a.example", True), ("A.Example.", "a.example", True), ("a.example", "b.a.example", False)],
        *[
            ("*.a.example", "b.a.example", True),
            ("*.a.example", "c.b.a.example", True),
            ("*.a.example", "a.example", False),
        ],
        *[
            ("*.a.example", "ba.example", False),
            ("*", "a.example", True),
            ("none", "none", False),
            ("[::1]", "::1", True),
        ],
        *[
            ("b\u00fccher.example", "xn--bcher-kva.example", True),
            ("*.0.0.1", "127.0.0.1", False),
            ("https://a", "a", False),
        ],
    ],
)
def test_covers_hosts_by_name_and_below_a_star(pattern: str, host: str, covered: bool) -> None:
    assert matches_host(pattern, host) is covered


@pytest.mark.parametrize(
    "entry", ["", "a.example:443", "https://a.example", "a*.example", "*.", "a b", "127.1", "*.1.2.3.4"]
)
def test_refuses_an_entry_that_is_no_host(entry: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — its text is the entry
        host_pattern(entry)


@given(st.text(alphabet="ab.:/@\\%[]?#*0x1\t \u3002", max_size=24))
def test_never_reads_a_host_beyond_its_alphabet(text: str) -> None:
    host = host_of(f"https://{text}")
    assert host is None or not set(host) - set("abx01.:")
