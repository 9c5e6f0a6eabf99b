"""Which of a client's headers go upstream."""

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.upstream_headers import (
    HINT_HEADERS,
    MAX_HEADER_CHARS,
    SESSION_HEADERS,
    UPSTREAM_HEADERS,
    answered_version,
    api_version,
    client_headers,
    session_headers,
)

# Recorded from the bundled CLI 2.1.330 (`claude -p`), without its credential and what belongs to the connection.
CLAUDE_CODE = {
    "accept": "application/json",
    "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
    "x-claude-code-session-id": "0209af21-e29e-4cdf-a1af-4df4b011bc9b",
    "x-stainless-arch": "x64",
    "x-stainless-lang": "js",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "0.128.0",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "node",
    "x-stainless-runtime-version": "v26.12.1",
    "x-stainless-timeout": "600",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "x-claude-1p-request-class": "main",
    "x-claude-code-prompt-id": "23755ea7-19ba-488d-99bb-1506eb44b15c",
    "x-claude-code-request-class": "main",
}
# Recorded from `anthropic` 2.12, streaming.
OFFICIAL = {
    "accept": "application/json",
    "user-agent": "Anthropic/Python 2.12.0",
    "x-stainless-timeout": "NOT_GIVEN",
    "x-stainless-retry-count": "0",
    "x-stainless-read-timeout": "600",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "2.12.0",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11.7",
    "x-stainless-async": "false",
    "x-stainless-helper-method": "stream",
    "x-stainless-stream-helper": "messages",
}
STAY = {
    "authorization": "Bearer x",
    "x-api-key": "x",
    "cookie": "x",
    "proxy-authorization": "x",
    "host": "x",
    "connection": "keep-alive",
    "content-length": "1",
    "content-type": "application/json",
    "accept-encoding": "gzip",
    "transfer-encoding": "chunked",
    "te": "x",
    "forwarded": "for=x",
    "x-forwarded-for": "x",
    "x-real-ip": "x",
    "x-request-id": "x",
    "x-conversation-id": "x",
    "traceparent": "x",
    "anthropic-workspace-id": "x",
    "anthropic-user-profile-id": "x",
    "x-secret": "x",
}


@pytest.mark.parametrize("sent", [CLAUDE_CODE, OFFICIAL], ids=["Claude Code", "anthropic"])
def test_pass_on_every_header_of_the_clients(sent: dict[str, str]) -> None:
    assert (
        client_headers(sent | STAY, betas=sent.get("anthropic-beta", "").split(",") if "anthropic-beta" in sent else [])
        == sent
    )


def test_pass_on_betas_exactly_as_received() -> None:
    assert client_headers({"anthropic-beta": "b , a,,b"}, betas=["b", "a", "b"]) == {"anthropic-beta": "b , a,,b"}
    assert client_headers({"anthropic-beta": " ,"}, betas=[]) == {}


def test_translated_requests_have_session_headers_only() -> None:
    sent = dict.fromkeys((*UPSTREAM_HEADERS, *STAY), "x")
    assert session_headers(sent) == dict.fromkeys(SESSION_HEADERS, "x")


def test_list_only_lower_case_names_that_are_no_credential() -> None:
    assert all(name == name.lower() for name in UPSTREAM_HEADERS)
    assert not set(UPSTREAM_HEADERS) & STAY.keys()
    assert set(HINT_HEADERS) < set(UPSTREAM_HEADERS)


@pytest.mark.parametrize("value", ["", "x" * (MAX_HEADER_CHARS + 1), "ü", "a\x00", "a\nb", "a\tb"], ids=repr)
def test_drop_a_header_that_is_too_long_or_unprintable(value: str) -> None:
    assert client_headers({"x-app": value, "user-agent": "u"}, betas=[]) == {"user-agent": "u"}


@pytest.mark.parametrize(("given", "version"), [(None, "2023-06-01"), ("", "2023-06-01"), ("2026-10-21", "2026-10-21")])
def test_read_the_clients_version_or_the_default(given: str | None, version: str) -> None:
    headers = {} if given is None else {"anthropic-version": given}
    assert api_version(headers) == answered_version(headers) == version


@pytest.mark.parametrize("given", ["1", "2023-6-1", "2023-06-01x", "2023-06-01\nx: y", "٢٠٢٣-٠٦-٠١", "latest"])
def test_reject_a_version_that_is_no_date(given: str) -> None:
    with pytest.raises(ProxyError, match=r"^anthropic-version: ") as caught:
        api_version({"anthropic-version": given})
    assert (caught.value.kind, caught.value.param) == (FailureKind.INVALID_REQUEST, "anthropic-version")
    assert answered_version({"anthropic-version": given}) == "2023-06-01"
