"""Origins of web sites, desktop applications and extensions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.origins import is_origin_pattern, matches_origin


@pytest.mark.parametrize(
    "pattern",
    [
        "https://app.example.org", "http://localhost:3000", "https://*.example.org", "https://*.example.org:8443",
        "tauri://localhost", "app://obsidian.md", "capacitor://localhost", "vscode-webview://*", "file://", "null",
        "chrome-extension://abcdefghijklmnop", "moz-extension://*", "http://[::1]:3000", "https://*",
    ],
)  # fmt: skip
def test_accept_origins_of_sites_and_apps(pattern: str) -> None:
    assert is_origin_pattern(pattern)


@pytest.mark.parametrize(
    "text",
    ["*", "", "example.org", "https://", "https://a/b", "https://a b", "https://a.*.org", "https://*.*", "https://a:b",
     "https://u@a", "nullx", "://a", "https://*a.org"],
)  # fmt: skip
def test_refuse_other_texts(text: str) -> None:
    assert not is_origin_pattern(text)


@pytest.mark.parametrize(
    ("origin", "allowed", "matches"),
    [
        ("https://app.example.org", "https://app.example.org", True),
        ("HTTPS://App.Example.Org", "https://app.example.org", True),
        ("https://app.example.org:443", "https://app.example.org", False),
        ("https://a.example.org", "https://*.example.org", True),
        ("https://a.b.example.org", "https://*.example.org", True),
        ("https://example.org", "https://*.example.org", False),
        ("https://evilexample.org", "https://*.example.org", False),
        ("https://a.example.org.evil.test", "https://*.example.org", False),
        ("http://a.example.org", "https://*.example.org", False),
        ("https://a.example.org:8443", "https://*.example.org", False),
        ("https://a.example.org:8443", "https://*.example.org:8443", True),
        ("https://evil.test/.example.org", "https://*.example.org", False),
        ("https://evil.test#.example.org", "https://*.example.org", False),
        ("vscode-webview://1a2b3c", "vscode-webview://*", True),
        ("vscode-webview://", "vscode-webview://*", False),
        ("https://a.test:1", "https://*", False),
        ("https://[::1]", "https://*", True),
        ("null", "null", True),
        ("null", "https://*", False),
        ("file://", "file://", True),
        ("*", "https://*", False),
        ("", "null", False),
        ("https://*.example.org", "https://*.example.org", True),
    ],
)
def test_match_origin(origin: str, allowed: str, matches: bool) -> None:
    assert matches_origin(origin, [allowed]) is matches


@given(st.text(max_size=60))
def test_never_match_by_accident(text: str) -> None:
    assert not matches_origin(f"https://evil.test{text}", ["https://app.example.org", "https://*.example.org"]) or (
        text.lower().endswith(".example.org")
    )
