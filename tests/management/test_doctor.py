"""Doctor's verdicts, and the command itself with the real CLI."""

import re
import tomllib
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import OperationalError, connection
from pytest_django import Settings

from apiproxy.conf import Credential, GatewaySettings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.keys.cache import create_key
from apiproxy.management.commands import doctor
from apiproxy.management.commands.doctor import available_memory
from apiproxy.management.doctor import (
    TESTED_CLI,
    TESTED_SDK,
    WORKER_BYTES,
    Check,
    Level,
    check_cli,
    check_credential,
    check_database,
    check_engines,
    check_file_system,
    check_folder,
    check_jail,
    check_keys,
    check_live,
    check_memory,
    check_proxy,
    check_timeouts,
    file_system_of,
)
from apiproxy.models import Model

ROOT = Path(__file__).resolve().parents[2]


def test_name_sdk_version_that_project_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"claude-agent-sdk=={TESTED_SDK}" in project["dependencies"]


def test_another_cli_than_the_tested_one_is_a_warning() -> None:
    assert check_cli(sdk=TESTED_SDK, reported=TESTED_CLI).level is Level.OK
    for sdk, reported in ((TESTED_SDK, "9.9.9"), ("9.9.9", TESTED_CLI)):
        finding = check_cli(sdk=sdk, reported=reported)
        assert finding.level is Level.WARN
        assert TESTED_CLI in finding.hint


def test_name_engines_and_their_problem() -> None:
    api_key = Credential(kind="api_key")
    assert check_engines({"sdk"}, default="sdk", credential=Credential(kind="bedrock")).level is Level.OK
    assert check_engines({"sdk", "http"}, default="http", credential=api_key).message == "http, sdk for single models"
    finding = check_engines({"sdk", "http"}, default="sdk", credential=Credential(kind="bedrock"))
    assert finding.level is Level.FAIL
    assert "CLAUDE_CODE_USE_BEDROCK" in finding.message
    assert "sdk engine" in finding.hint


def test_fail_for_cli_that_does_not_run() -> None:
    finding = check_cli(sdk=TESTED_SDK, reported=None, problem="Exec format error")
    assert finding.level is Level.FAIL
    assert "Exec format error" in finding.message
    assert finding.hint


def test_warn_about_demo_and_hide_credential() -> None:
    assert check_credential(Credential(kind="demo")).level is Level.WARN
    refused = check_credential(Credential(kind="demo"), demo_refusal="No credential is set. Set one.")
    assert (refused.level, refused.message, refused.hint) == (Level.FAIL, "No credential is set", "Set one.")
    finding = check_credential(Credential(kind="api_key", env={"ANTHROPIC_API_KEY": "sk-secret"}, base_url="https://x"))
    assert finding.level is Level.OK
    assert "sk-secret" not in f"{finding}"
    assert check_credential(Credential(kind="bedrock")).message == "bedrock"


def test_pass_private_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert check_folder(Check.STATE, tmp_path).level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_warn_of_folder_that_others_may_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    finding = check_folder(Check.STATE, tmp_path)
    assert finding.level is Level.WARN
    assert "0750" in finding.message
    assert "chmod 700" in finding.hint


def test_pass_folder_that_will_be_created(tmp_path: Path) -> None:
    finding = check_folder(Check.LOGS, tmp_path / "state" / "logs")
    assert finding.level is Level.OK
    assert "will be created" in finding.message
    assert list(tmp_path.iterdir()) == []


def test_fail_for_file_in_place_of_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert check_folder(Check.STATE, tmp_path / "state").level is Level.FAIL
    assert check_folder(Check.LOGS, tmp_path / "state" / "logs").level is Level.FAIL


def test_report_database_migrated_or_not() -> None:
    assert check_database("sqlite", pending=[]).level is Level.OK
    assert check_database("sqlite", pending=["apiproxy.0001_initial"]).level is Level.WARN
    assert check_database("postgresql", pending=None, problem="refused").level is Level.FAIL


@pytest.mark.parametrize(
    ("usable", "env_secret", "level"),
    [
        (1, None, Level.OK),
        (1, "x" * 20, Level.OK),
        (0, "x" * 20, Level.OK),
        (1, "x" * 19, Level.WARN),
        (0, None, Level.WARN),
        (None, None, Level.WARN),
    ],
)
def test_warn_about_missing_or_guessable_key(usable: int | None, env_secret: str | None, level: Level) -> None:
    finding = check_keys(usable=usable, env_secret=env_secret)
    assert finding.level is level
    assert env_secret is None or env_secret not in f"{finding}"


LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
NAMED = ["gateway.example.org"]


@pytest.mark.parametrize(
    ("host", "https", "trusted", "allowed_hosts", "level", "said"),
    [
        ("127.0.0.1", False, (), LOOPBACK, Level.OK, "none"),
        ("127.0.0.1", True, ("127.0.0.1/32",), NAMED, Level.OK, "at 127.0.0.1/32"),
        ("10.0.0.5", False, (), [*LOOPBACK, "10.0.0.5"], Level.OK, "none"),
        ("0.0.0.0", False, (), NAMED, Level.OK, "none"),
        ("127.0.0.1", True, (), NAMED, Level.WARN, "CLAUDE_PROXY_TRUSTED_PROXIES is empty"),
        ("127.0.0.1", True, ("10.0.0.0/8", "0.0.0.0/0"), NAMED, Level.WARN, "trusts every address"),
        ("127.0.0.1", True, ("::/0",), NAMED, Level.WARN, "trusts every address"),
        ("127.0.0.1", True, ("10.0.0.9/32",), LOOPBACK, Level.WARN, "no host name"),
        ("0.0.0.0", False, (), [*LOOPBACK, "0.0.0.0"], Level.WARN, "no host name"),
        ("127.0.0.1", False, ("10.0.0.9/32",), NAMED, Level.WARN, "not marked secure"),
    ],
)
def test_reject_inconsistent_reverse_proxy_settings(
    host: str, https: bool, trusted: tuple[str, ...], allowed_hosts: list[str], level: Level, said: str
) -> None:
    finding = check_proxy(host=host, https=https, trusted=trusted, allowed_hosts=allowed_hosts)
    assert finding.level is level
    assert said in finding.message
    assert bool(finding.hint) is (level is Level.WARN)


def test_memory_is_needed_for_every_worker_and_at_least_for_one() -> None:
    assert check_memory(available_bytes=7 * WORKER_BYTES, workers=7).level is Level.OK
    assert check_memory(available_bytes=7 * WORKER_BYTES - 1, workers=7).level is Level.WARN
    assert check_memory(available_bytes=WORKER_BYTES - 1, workers=7).level is Level.FAIL


def test_use_memory_limit_of_container(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory(tmp_path) == 4000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) > 5000
    assert available_memory(tmp_path / "nothing") > 5000


def test_show_time_or_error_of_live_turn() -> None:
    assert "1.2 s" in check_live(answer="ready", seconds=1.23).message
    finding = check_live(answer=None, seconds=0, problem="invalid x-api-key")
    assert finding.level is Level.FAIL
    assert "invalid x-api-key" in finding.message


def report(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("doctor", *arguments, stdout=output, no_color=True)
    return output.getvalue().splitlines()


def findings(lines: list[str]) -> dict[str, str]:
    """Check: level."""
    found = (re.match(r"(ok|warn|fail) +([a-z ]+): ", line) for line in lines)
    return {match[2]: match[1] for match in found if match}


@pytest.mark.django_db
def test_print_line_for_each_check() -> None:
    lines = report()
    found = findings(lines)
    assert list(found) == [check for check in Check if check not in (Check.LIVE, Check.JAIL)]  # there are no agents
    assert found["cli"] == "ok"  # the real one has been asked
    assert found["credential"] == "warn"
    assert found["database"] == "ok"
    assert found["keys"] == "warn"
    assert any("createapikey" in line for line in lines)
    async_to_sync(create_key)("ci")
    assert findings(report())["keys"] == "ok"


@pytest.mark.django_db
def test_skip_cli_and_its_memory_with_http_alone(settings: Settings) -> None:
    settings.GATEWAY = replace(settings.GATEWAY, engine="http")
    lines = report()
    assert "cli" not in findings(lines)
    assert any(line.startswith("ok    engines: http") for line in lines)
    assert any("no workers" in line for line in lines if "memory:" in line)
    Model.objects.filter(pk="claude-opus-5-5").update(engine="sdk")
    assert findings(report())["cli"] == "ok"


@pytest.mark.django_db
def test_make_live_turn_through_engine_of_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def live_turn(settings: GatewaySettings, model: str) -> str:
        asked.append((settings.engine, model))
        return "ready"

    monkeypatch.setattr(doctor.Command, "live_turn", staticmethod(live_turn))
    Model.objects.filter(pk="claude-opus-5-5").update(engine="http")
    report("--live", "--model", "opus")
    report("--live", "--model", "sonnet")
    assert asked == [("http", "claude-opus-5-5"), ("sdk", "claude-sonnet-5-5")]


@pytest.mark.django_db
def test_run_live_turn_through_real_cli() -> None:
    lines = report("--live")
    assert findings(lines)["live turn"] == "ok"


@pytest.mark.django_db
def test_run_live_turn_with_requested_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def live_turn(settings: GatewaySettings, model: str) -> str:
        asked.append(model)
        raise ProxyError(FailureKind.CONNECTION_LOST, "The connection to the upstream API was lost.")

    monkeypatch.setattr(doctor.Command, "live_turn", staticmethod(live_turn))
    with pytest.raises(SystemExit) as caught:
        report("--live", "--model", "opus")
    assert caught.value.code == 1
    assert asked == ["claude-opus-5-5"]


@pytest.mark.django_db
def test_exit_with_1_after_failed_check(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    settings.GATEWAY = replace(settings.GATEWAY, state_dir=tmp_path / "state")
    with pytest.raises(SystemExit) as caught:
        report()
    assert caught.value.code == 1


@pytest.mark.django_db
def test_report_database_timeout_and_keep_serving() -> None:
    def refuse(*_arguments: object) -> None:
        raise OperationalError("could not connect")

    output = StringIO()
    with connection.execute_wrapper(refuse), pytest.raises(SystemExit):
        call_command("doctor", "--live", stdout=output, no_color=True)
    found = findings(output.getvalue().splitlines())
    assert found["database"] == found["live turn"] == "fail"
    assert found["memory"] == "ok"


SHARED = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.grpcfuse", "virtiofs", "drvfs"]


@pytest.mark.parametrize("kind", SHARED)
def test_warn_about_sqlite_on_shared_file_system(kind: str) -> None:
    finding = check_file_system(kind, vendor="sqlite")
    assert finding.level is Level.WARN
    assert "DATABASE_URL" in finding.hint
    assert check_file_system(kind, vendor="postgresql").level is Level.OK


@pytest.mark.parametrize("kind", ["ext4", "xfs", "overlay", "tmpfs", "apfs", "NTFS", "fuse.mergerfs", ""])
def test_accept_local_file_systems(kind: str) -> None:
    assert check_file_system(kind, vendor="sqlite").level is Level.OK


def test_find_the_file_system_of_a_folder() -> None:
    mounts = [("/", "overlay"), ("/srv", "ext4"), ("/srv/state", "nfs4"), ("/srv/statement", "xfs"), ("/srv", "btrfs")]
    assert file_system_of(Path("/srv/state/deep"), mounts) == "nfs4"
    assert file_system_of(Path("/srv/other"), mounts) == "btrfs"
    assert file_system_of(Path("/home"), mounts) == "overlay"
    assert file_system_of(Path("/home"), []) == ""


@pytest.mark.parametrize(
    ("first_byte_ms", "level"), [(40_000, Level.OK), (0, Level.OK), (30_000, Level.WARN), (1, Level.WARN)]
)
def test_warn_about_first_byte_before_queue_timeout(first_byte_ms: int, level: Level) -> None:
    assert check_timeouts(first_byte_ms=first_byte_ms, queue_timeout_ms=30_000).level is level


def test_warn_of_agents_without_a_jail() -> None:
    assert check_jail("", "").level is Level.OK
    finding = check_jail("bwrap is not installed", "apt-get install bubblewrap")
    assert (finding.level, finding.hint) == (Level.WARN, "apt-get install bubblewrap")
    assert "bwrap is not installed" in finding.message
