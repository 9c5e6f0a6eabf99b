"""Proxies and NO_PROXY in every spelling in use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.proxies import ProxyAddressError, bypasses_proxy, is_loopback, is_socks, proxy_for

P = "http://proxy.corp:3128"


@pytest.mark.parametrize(
    ("url", "env", "proxy"),
    [
        ("https://a.test", {"ALL_PROXY": P}, P),
        ("http://a.test", {"all_proxy": P, "HTTPS_PROXY": "http://other"}, P),
        ("https://a.test", {"ALL_PROXY": P, "HTTPS_PROXY": "http://other"}, "http://other"),
        ("https://a.test", {"HTTPS_PROXY": "proxy.corp:3128"}, P),
        ("https://a.test", {"HTTPS_PROXY": "  "}, None),
        ("https://a.test", {"ALL_PROXY": "socks5://10.0.0.1"}, "socks5://10.0.0.1:1080"),
        ("https://a.test", {"ALL_PROXY": "socks://10.0.0.1:9050"}, "socks5://10.0.0.1:9050"),
        ("https://a.test", {"ALL_PROXY": "socks5h://u:p@[::1]:1"}, "socks5://u:p@[::1]:1"),
        ("https://a.test", {"ALL_PROXY": P, "NO_PROXY": "a.test"}, None),
    ],
)
def test_choose_proxy_of_url(url: str, env: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(url, env) == proxy


@pytest.mark.parametrize("value", ["ftp://p", "http://", "socks5://:1080", "http://p:x", "http://p:0", "http://p\x00"])
def test_refuse_what_is_no_proxy(value: str) -> None:
    with pytest.raises(ProxyAddressError, match=r"^all_proxy is not"):
        proxy_for("https://a.test", {"all_proxy": value})


@pytest.mark.parametrize(
    ("no_proxy", "url", "bypassed"),
    [
        ("*", "https://a.test", True),
        ("example.org", "https://example.org", True),
        ("example.org", "https://api.example.org", True),
        (".example.org", "https://api.example.org", True),
        (".example.org", "https://example.org", True),
        ("*.example.org", "https://api.example.org", True),
        ("*.example.org", "https://badexample.org", False),
        ("example.org", "https://badexample.org", False),
        ("example.org.", "https://EXAMPLE.org.", True),
        ("EXAMPLE.ORG", "https://example.org", True),
        ("a.test:443", "https://a.test", True),
        ("a.test:8443", "https://a.test", False),
        ("a.test:8443", "https://a.test:8443", True),
        ("x.test a.test", "https://a.test", True),
        ("x.test,, a.test ", "https://a.test", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3:8443", True),
        ("10.1.2.3:8443", "https://10.1.2.3", False),
        ("10.1.2", "https://10.1.2.3", False),
        ("::1", "https://[::1]", True),
        ("[::1]", "https://[::1]:8443", True),
        ("[::1]:8443", "https://[::1]:8443", True),
        ("[::1]:8443", "https://[::1]", False),
        ("fd00::/8", "https://[fd12::1]", True),
        ("localhost", "https://localhost:4000", True),
        ("", "https://a.test", False),
        (",. *. :443", "https://a.test", False),
    ],
)
def test_read_every_spelling_of_no_proxy(no_proxy: str, url: str, bypassed: bool) -> None:
    assert bypasses_proxy(url, {"NO_PROXY": no_proxy}) is bypassed


@given(st.text(max_size=50), st.sampled_from(["https://a.test", "https://[::1]:1", "http://10.0.0.1"]))
def test_survive_any_no_proxy(text: str, url: str) -> None:
    assert bypasses_proxy(url, {"no_proxy": text}) in (True, False)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "LOCALHOST."]
)
def test_recognise_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.evil.test", "10.0.0.1", "::2", "", "a.test"])
def test_take_no_other_host_for_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_tell_socks_from_http() -> None:
    assert is_socks("socks5://p:1")
    assert not is_socks(P)
    assert not is_socks(None)
