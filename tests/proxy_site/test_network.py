"""Proxies and certificates are decided at the start, the same for both engines."""

from pathlib import Path

import pytest

from apiproxy.conf import engine_problem
from proxy_site.env import SettingError
from proxy_site.upstream.credentials import read_credential
from proxy_site.upstream.network import network_env
from tests.support.authority import Authority

P = "http://proxy.corp:3128"
API = "https://api.anthropic.com"


@pytest.mark.parametrize(
    ("env", "base_url", "passed"),
    [
        ({"HTTPS_PROXY": P, "NO_PROXY": "localhost"}, API, {"HTTPS_PROXY": P}),
        ({"https_proxy": P, "HTTP_PROXY": "http://other"}, API, {"HTTPS_PROXY": P}),
        ({"ALL_PROXY": P}, API, {"HTTPS_PROXY": P}),
        ({"HTTPS_PROXY": P, "NO_PROXY": "*.anthropic.com"}, API, {}),
        ({"HTTPS_PROXY": P, "NO_PROXY": ".anthropic.com:443"}, API, {}),
        ({"HTTP_PROXY": P}, "http://10.0.0.9:4000", {"HTTP_PROXY": P}),
        ({"HTTP_PROXY": P, "NO_PROXY": "10.0.0.0/8"}, "http://10.0.0.9:4000", {}),
        ({"HTTP_PROXY": P, "http_proxy": P}, "http://127.0.0.1:4000", {}),
        ({"HTTP_PROXY": P}, "http://localhost:4000", {}),
        ({"HTTP_PROXY": P}, "http://[::1]:4000", {}),
        ({"HTTPS_PROXY": P, "no_proxy": "x"}, None, {"HTTPS_PROXY": P, "no_proxy": "x"}),
        ({"ALL_PROXY": P}, None, {"HTTPS_PROXY": P}),
    ],
)
def test_decide_about_proxy_for_both_engines(env: dict[str, str], base_url: str | None, passed: dict[str, str]) -> None:
    assert network_env(env, base_url) == passed


@pytest.mark.parametrize("name", ["ALL_PROXY", "https_proxy"])
def test_refuse_invalid_proxy_without_its_password(name: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}: its value is not allowed") as refused:
        network_env({name: "ftp://user:pass-word@proxy"}, API)
    assert "pass-word" not in str(refused.value)


def test_leave_socks_to_the_http_engine() -> None:
    credential = read_credential({"ANTHROPIC_API_KEY": "k", "ALL_PROXY": "socks5://127.0.0.1:1080"})
    assert credential.env["HTTPS_PROXY"] == "socks5://127.0.0.1:1080"
    assert engine_problem(credential, "http") == ""
    assert "NO_PROXY" in engine_problem(credential, "sdk")


@pytest.mark.parametrize(
    "env",
    [
        {"NO_PROXY": "api.anthropic.com"},
        {"ANTHROPIC_BASE_URL": "http://127.0.0.1:4000"},
        {"HTTPS_PROXY": P},
    ],
)
def test_forget_socks_that_is_not_used(env: dict[str, str]) -> None:
    credential = read_credential({"ANTHROPIC_API_KEY": "k", "ALL_PROXY": "socks5://127.0.0.1:1080", **env})
    assert engine_problem(credential, "sdk") == ""


def test_refuse_socks_for_cloud_platforms() -> None:
    env = {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": "eu-west-1", "ALL_PROXY": "socks5://127.0.0.1:1080"}
    with pytest.raises(SettingError, match="SOCKS proxy"):
        read_credential(env)


def test_ignore_proxies_in_demo() -> None:
    assert read_credential({"ALL_PROXY": "socks5://127.0.0.1:1080"}).env == {}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_accept_certificates_that_can_be_used(authority: Authority) -> None:
    env = {
        "NODE_EXTRA_CA_CERTS": str(authority.file),
        "SSL_CERT_FILE": str(authority.file),
        "CLAUDE_CODE_CLIENT_CERT": str(authority.issue("client", phrase="s3cret")),
        "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE": "s3cret",
    }
    assert network_env(env, API) == env


@pytest.mark.parametrize("name", ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"])
@pytest.mark.parametrize("wrong", ["missing", "no certificate", "folder"])
def test_refuse_unusable_authority(tmp_path: Path, name: str, wrong: str) -> None:
    path = tmp_path / "ca.pem"
    if wrong == "folder":
        path.mkdir()
    elif wrong == "no certificate":
        path.write_text("hello")
    with pytest.raises(SettingError, match=f"^{name}: .*ca.pem"):
        network_env({name: str(path)}, API)


@pytest.mark.parametrize("phrase", ["", "wrong"])
def test_refuse_wrong_passphrase(authority: Authority, phrase: str) -> None:
    env = {"CLAUDE_CODE_CLIENT_CERT": str(authority.issue("client", phrase="s3cret"))}
    with pytest.raises(SettingError, match=r"^CLAUDE_CODE_CLIENT_CERT: .*PASSPHRASE"):
        network_env({**env, "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE": phrase}, API)


def test_refuse_missing_client_key(authority: Authority) -> None:
    env = {"CLAUDE_CODE_CLIENT_CERT": str(authority.issue("client")), "CLAUDE_CODE_CLIENT_KEY": "/nowhere/key.pem"}
    with pytest.raises(SettingError, match="cannot be read"):
        network_env(env, API)
