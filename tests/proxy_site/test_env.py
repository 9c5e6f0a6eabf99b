"""Settings are read as their types say, and a wrong one stops the start with a message that helps."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.conf import Credential, CredentialKind, GatewaySettings, SessionSettings, checks
from apiproxy.conf.checks import Check
from apiproxy.conf.setting import Setting, table
from proxy_site.conf import TABLE, read_gateway, read_site
from proxy_site.env import SettingError, read_value
from tests.support.sources import sources

BASE = Path("/srv/gateway")
DEMO = Credential(kind="demo")


def read(env: dict[str, str], credential: Credential = DEMO) -> GatewaySettings:
    return read_gateway(env, base_dir=BASE, site=read_site(env), credential=credential)


def refused(env: dict[str, str]) -> str:
    with pytest.raises(SettingError) as caught:
        read(env)
    return str(caught.value)


def test_without_variables_the_documented_defaults_hold() -> None:
    settings = read({})
    assert (settings.host, settings.port, settings.max_concurrent) == ("127.0.0.1", 3456, 5)
    assert (settings.queue_timeout_ms, settings.stall_timeout_ms, settings.max_duration_ms) == (30000, 120000, 3600000)
    assert (settings.max_output_chars, settings.warm_workers, settings.worker_max_turns) == (500000, 2, 2000)
    assert (settings.state_dir, settings.log_dir) == (BASE / "state", BASE / "state" / "logs")
    assert (settings.api_key, settings.cors_origins, settings.model_aliases) == (None, (), {})


def test_read_engine_settings() -> None:
    assert (read({}).engine, read({}).http_max_concurrent) == ("sdk", 1000)
    settings = read({"CLAUDE_PROXY_ENGINE": "HTTP", "CLAUDE_PROXY_HTTP_MAX_CONCURRENT": "50"})
    assert (settings.engine, settings.http_max_concurrent) == ("http", 50)
    assert "one of sdk, http" in refused({"CLAUDE_PROXY_ENGINE": "curl"})


@pytest.mark.parametrize("kind", ["bedrock", "vertex", "foundry"])
def test_reject_http_engine_with_cloud_credential(kind: CredentialKind) -> None:
    with pytest.raises(SettingError, match=f"CLAUDE_PROXY_ENGINE.*CLAUDE_CODE_USE_{kind.upper()}.*sdk engine"):
        read({"CLAUDE_PROXY_ENGINE": "http"}, Credential(kind=kind))
    assert read({"CLAUDE_PROXY_ENGINE": "sdk"}, Credential(kind=kind)).engine == "sdk"


@pytest.mark.parametrize("kind", ["api_key", "gateway_token", "demo"])
def test_accept_http_engine_with_other_credentials(kind: CredentialKind) -> None:
    assert read({"CLAUDE_PROXY_ENGINE": "http"}, Credential(kind=kind)).engine == "http"


def test_set_field_of_every_variable() -> None:
    settings = read(
        {
            "CLAUDE_PROXY_HOST": "0.0.0.0",
            "CLAUDE_PROXY_PORT": "0",
            "CLAUDE_PROXY_LOG_LEVEL": "warning",
            "CLAUDE_PROXY_STATE_DIR": "/var/lib/gateway",
            "CLAUDE_PROXY_API_KEY": "secret",
            "CLAUDE_PROXY_STRICT": "on",
            "CLAUDE_PROXY_CORS_ORIGINS": "https://a.example, http://b.example:8080",
            "CLAUDE_PROXY_MODEL_ALIASES": "fast=claude-haiku-4-5, best=claude-opus-4-5",
            "CLAUDE_PROXY_TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.1",
        }
    )
    assert (settings.host, settings.port, settings.log_level, settings.strict) == ("0.0.0.0", 0, "WARNING", True)
    assert (settings.state_dir, settings.log_dir) == (Path("/var/lib/gateway"), Path("/var/lib/gateway/logs"))
    assert settings.api_key == "secret"
    assert settings.cors_origins == ("https://a.example", "http://b.example:8080")
    assert settings.model_aliases == {"fast": "claude-haiku-4-5", "best": "claude-opus-4-5"}
    assert settings.trusted_proxies == ("10.0.0.0/8", "127.0.0.1/32")


def test_treat_empty_variable_as_unset() -> None:
    assert read({"CLAUDE_PROXY_PORT": "", "CLAUDE_PROXY_STATE_DIR": " ", "CLAUDE_PROXY_STRICT": ""}) == read({})


def test_debug_logs_everything() -> None:
    assert read({"CLAUDE_PROXY_DEBUG": "1", "CLAUDE_PROXY_LOG_LEVEL": "ERROR"}).log_level == "DEBUG"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("CLAUDE_PROXY_PORT", "http", "a whole number from 0 to 65535"),
        ("CLAUDE_PROXY_PORT", "65536", "a whole number from 0 to 65535"),
        ("CLAUDE_PROXY_MAX_CONCURRENT", "0", "a whole number from 1 to 1000"),
        ("CLAUDE_PROXY_STALL_TIMEOUT_MS", "2m", "a whole number of milliseconds from 1 to 86400000"),
        ("CLAUDE_PROXY_STRICT", "perhaps", "1, true, yes or on, or 0, false, no or off"),
        ("CLAUDE_PROXY_LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR"),
        ("CLAUDE_PROXY_CORS_ORIGINS", "https://a.example/path", "origins such as https://example.org"),
        ("CLAUDE_PROXY_CORS_ORIGINS", "*", "origins such as https://example.org"),
        ("CLAUDE_PROXY_CORS_ORIGINS", "https://a.example:port", "origins such as https://example.org"),
        ("CLAUDE_PROXY_TRUSTED_PROXIES", "proxy.example", "IP addresses or networks"),
        ("CLAUDE_PROXY_MODEL_ALIASES", "fast", "alias=model pairs"),
        ("CLAUDE_PROXY_MODEL_ALIASES", "a=x,a=y", "alias=model pairs"),
        ("CLAUDE_PROXY_HOST", "a\nb", "an address of this machine"),
    ],
)
def test_reject_bad_value_with_name_value_and_allowed(name: str, value: str, allowed: str) -> None:
    message = refused({name: value})
    assert message.startswith(f"{name}: {value!r} is not allowed; it must be ")
    assert allowed in message


def test_keep_secret_out_of_output() -> None:
    with pytest.raises(SettingError) as caught:
        read_site({"REDIS_URL": "http://user:hunter2@host"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    assert "hunter2" not in repr(read({"CLAUDE_PROXY_API_KEY": "hunter2"}))


def test_read_secret_from_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-the-file\n")
    assert read({"CLAUDE_PROXY_API_KEY_FILE": str(tmp_path / "key")}).api_key == "from-the-file"


def test_reject_missing_empty_or_duplicate_secret_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "cannot be read" in refused({"CLAUDE_PROXY_API_KEY_FILE": str(tmp_path / "missing")})
    assert "not text" in refused({"CLAUDE_PROXY_API_KEY_FILE": str(tmp_path / "binary")})
    assert "is empty" in refused({"CLAUDE_PROXY_API_KEY_FILE": str(tmp_path / "empty")})
    assert "both set" in refused({"CLAUDE_PROXY_API_KEY_FILE": "/x", "CLAUDE_PROXY_API_KEY": "y"})


def test_suggest_nearest_name_for_misspelt_variable() -> None:
    message = refused({"CLAUDE_PROXY_MAX_CONCURENT": "3"})
    assert (
        message
        == "CLAUDE_PROXY_MAX_CONCURENT is not a setting of this gateway; did you mean CLAUDE_PROXY_MAX_CONCURRENT?"
    )
    assert refused({"CLAUDE_PROXY_": "3"}).startswith("CLAUDE_PROXY_ is not a setting of this gateway")


def test_reject_file_form_of_variable_without_secret() -> None:
    assert "CLAUDE_PROXY_PORT_FILE is not a setting" in refused({"CLAUDE_PROXY_PORT_FILE": "/x"})


@pytest.mark.parametrize("address", ["http://127.0.0.1:3456", "http://localhost:3456/"])
def test_reject_gateway_as_its_own_upstream(address: str) -> None:
    with pytest.raises(SettingError, match="is this gateway's own address"):
        read({}, Credential(kind="api_key", base_url=address))
    assert read({"CLAUDE_PROXY_PORT": "3457"}, Credential(kind="api_key", base_url=address)).port == 3457
    with pytest.raises(SettingError, match="is this gateway's own address"):
        read({"CLAUDE_PROXY_PORT": "80"}, Credential(kind="api_key", base_url="http://localhost"))


def test_list_each_variable_once_with_valid_default() -> None:
    names = [variable.name for variable in TABLE]
    assert len(names) == len(set(names))
    for variable in TABLE:
        if isinstance(variable.default, bool | int | str):
            assert read_value(variable, {variable.name: str(variable.default)}) == variable.default


def test_messages_and_hints_name_only_variables_of_the_table() -> None:
    known = {name for setting in TABLE for name in setting.names}
    for module, source in sources().items():
        named = set(re.findall(r"CLAUDE_PROXY_[A-Z_]*[A-Z]", source.read_text(encoding="utf-8")))
        assert named <= known, module


def test_prefix_group_settings_without_a_variable_name() -> None:
    names = [setting.name for setting in table(SessionSettings, "CLAUDE_PROXY_SESSION_")]
    assert names == [
        "CLAUDE_PROXY_SESSION_TTL_HOURS",
        "CLAUDE_PROXY_SESSION_MAX",
        "CLAUDE_PROXY_SESSION_BYTES_PER_KEY",
        "CLAUDE_PROXY_STORE_SESSIONS",
    ]
    read_back = read({"CLAUDE_PROXY_SESSION_MAX": "7", "CLAUDE_PROXY_STORE_SESSIONS": "1"}).sessions
    assert read_back == SessionSettings(max_per_key=7, store=True)


@pytest.mark.parametrize(
    ("check", "raw", "value"),
    [
        (checks.path(), "~/x", Path.home() / "x"),
        (checks.url("http", "https"), "https://host/base/", "https://host/base"),
        (checks.choice(("Red", "Blue")), "bLUE", "Blue"),
        (checks.csv(checks.integer(0, 9), allowed="digits"), " 1, ,2,", (1, 2)),
        (checks.network(), "10.1.2.3/8", "10.0.0.0/8"),
    ],
)
def test_normalize_value_of_check(check: Check[object], raw: str, value: object) -> None:
    assert check.parse(raw) == value


@pytest.mark.parametrize("raw", ["ftp://host", "https://", "host", "https://a b", "https://host:99999"])
def test_reject_address_without_scheme_host_or_port(raw: str) -> None:
    variable = Setting(name="U", check=checks.url("https", "http"), default=None, description="")
    with pytest.raises(SettingError, match="such as https://host or http://host"):
        read_value(variable, {"U": raw})


@given(st.text())
def test_convert_number_within_bounds_or_report_setting(raw: str) -> None:
    variable = Setting(name="N", check=checks.integer(1, 9), default=5, description="")
    with suppress(SettingError):
        assert 1 <= read_value(variable, {"N": raw}) <= 9


@given(
    st.text(), st.sampled_from([checks.url("http"), checks.origin(), checks.network(), checks.path(), checks.boolean()])
)
def test_raise_only_setting_error_for_any_text(raw: str, check: Check[object]) -> None:
    with suppress(SettingError):
        read_value(Setting(name="V", check=check, default=None, description=""), {"V": raw})
