"""The files of deploy/ agree with the gateway: variables, times, limits, contents of the image."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiproxy.http.body import MAX_BODY_BYTES
from proxy_site.conf import TABLE
from tests.deploy.fronts import DEPLOY, nobody
from tests.support.gateway import GatewayProcess
from tests.support.processes import ROOT, clean_environment

KNOWN = {name for variable in TABLE for name in variable.names}
DEFAULTS = {variable.name: variable.default for variable in TABLE}
ACTING = ("Caddyfile", "Dockerfile", "claude-sdk-proxy.service", "compose.yaml", "nginx.conf")
IDLE_CONNECTION_S = 60
"""After so long Twisted closes a connection that nobody uses (twisted.web.http._REQUEST_TIMEOUT)."""


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def only(pattern: str, name: str) -> str:
    found = re.findall(pattern, text(name), re.MULTILINE)
    assert len(found) == 1, f"{name}: {pattern} stands there {len(found)} times"
    return str(found[0])


@pytest.mark.parametrize("name", ACTING)
def test_name_only_variables_that_are_settings(name: str) -> None:
    named = set(re.findall(r"\b(?:CLAUDE_PROXY_[A-Z_]+|DATABASE_URL\w*|REDIS_URL\w*)\b", text(name)))
    assert named
    assert named <= KNOWN


def test_stop_gateway_later_than_drain_timeout() -> None:
    drain_s = DEFAULTS["CLAUDE_PROXY_DRAIN_TIMEOUT_MS"] / 1000
    assert int(only(r"^TimeoutStopSec=(\d+)$", "claude-sdk-proxy.service")) > drain_s + 5
    assert int(only(r"^ +stop_grace_period: (\d+)s\b", "compose.yaml")) > drain_s + 5
    assert int(only(r"docker stop --time (\d+)", "Dockerfile")) > drain_s + 5


def test_match_proxy_timeouts_and_sizes_to_gateway() -> None:
    longest_s = DEFAULTS["CLAUDE_PROXY_MAX_DURATION_MS"] / 1000
    assert int(only(r"proxy_read_timeout (\d+)s;", "nginx.conf")) > longest_s
    assert int(only(r"response_header_timeout (\d+)s$", "Caddyfile")) > longest_s
    assert int(only(r"^ +send_timeout (\d+)s;", "nginx.conf")) >= DEFAULTS["CLAUDE_PROXY_STALL_TIMEOUT_MS"] / 1000
    assert int(only(r"client_max_body_size (\d+)m;", "nginx.conf")) * 2**20 > MAX_BODY_BYTES
    assert int(only(r"max_size (\d+)MiB", "Caddyfile")) * 2**20 > MAX_BODY_BYTES


def test_close_idle_connections_in_proxy_before_gateway() -> None:
    """The other way round a request can be sent on a connection that is just being closed."""
    assert int(only(r"^ +keepalive_timeout (\d+)s;", "nginx.conf")) < IDLE_CONNECTION_S
    assert int(only(r"^\s+keepalive (\d+)s$", "Caddyfile")) < IDLE_CONNECTION_S


def test_need_the_settings_file_of_the_unit() -> None:
    assert only(r"^EnvironmentFile=(.*)$", "claude-sdk-proxy.service") == "/etc/claude-sdk-proxy.env"


def test_limit_memory_to_what_the_gateway_needs() -> None:
    assert 50 <= int(only(r"^MemoryMax=(\d+)%$", "claude-sdk-proxy.service")) < 100
    services = yaml.safe_load(text("compose.yaml"))["services"]
    assert all(service["mem_limit"] for service in services.values())
    processes = int(only(r"CLAUDE_PROXY_PROCESSES:-(\d+)", "compose.yaml"))
    slots = int(only(r"CLAUDE_PROXY_MAX_CONCURRENT:-(\d+)", "compose.yaml")) + DEFAULTS["CLAUDE_PROXY_WARM_WORKERS"]
    needed_mb = processes * (200 + 300 * slots + 2 * DEFAULTS["CLAUDE_PROXY_BODY_MEMORY_MB"])
    assert int(only(r"GATEWAY_MEMORY:-(\d+)g", "compose.yaml")) * 1024 >= needed_mb


def test_pass_no_request_on_twice() -> None:
    (retries,) = re.findall(r"^ +proxy_next_upstream (.*);", text("nginx.conf"), re.MULTILINE)
    assert retries.split() == ["http_503", "non_idempotent"]


def test_run_image_unprivileged_from_lock() -> None:
    lines = text("Dockerfile").splitlines()
    users = [line.removeprefix("USER ") for line in lines if line.startswith("USER ")]
    assert users == ["10001:10001"]
    assert "--require-hashes" in text("Dockerfile")
    assert 'CMD ["python", "-I", "deploy/healthcheck.py"]' in text("Dockerfile")


def test_include_runtime_files_only_in_image() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert rules[1] == "*", "everything is left out but what is named"
    named = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert all((ROOT / it).exists() for it in named)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert named == packages | {"deploy/healthcheck.py", "manage.py", "requirements.lock", "templates"}


def test_run_compose_gateway_unprivileged_without_env_secrets() -> None:
    compose: dict[str, Any] = yaml.safe_load(text("compose.yaml"))
    services = compose["services"]
    gateway = services["gateway"]
    secret_names = {variable.name for variable in TABLE if variable.secret} | {"ANTHROPIC_API_KEY"}
    given = set(gateway["environment"]) & secret_names
    assert given == {"REDIS_URL"}, "this one has no password: Redis is reached from within alone"
    for name, service in services.items():
        assert {"/run/secrets/" + it for it in service.get("secrets", ())} == {
            value for key, value in service.get("environment", {}).items() if key.endswith("_FILE")
        }, name
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
        assert service["restart"] == "unless-stopped"
        assert ("ports" in service) == (name == "gateway")
    assert gateway["depends_on"] == {name: {"condition": "service_healthy"} for name in ("postgres", "redis")}
    assert all("healthcheck" in services[name] for name in gateway["depends_on"])
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Needs systemd. That the CLI runs under the unit's restrictions was checked by hand."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on this machine")
    unit = tmp_path / "claude-sdk-proxy.service"
    unit.write_text(
        re.sub(r"/opt/claude-sdk-proxy/\.venv/bin/python|/bin/kill", sys.executable, text(unit.name)), encoding="utf-8"
    )
    checked = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_check_container_health_without_upstream_proxy(behind: GatewayProcess) -> None:
    def health(port: int) -> int:
        env = clean_environment(
            CLAUDE_PROXY_PORT=str(port), HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9"
        )
        command = [sys.executable, "-I", str(DEPLOY / "healthcheck.py")]
        return subprocess.run(command, env=env, check=False).returncode

    assert health(int(behind.base_url.rsplit(":", 1)[1])) == 0
    with nobody() as port:
        assert health(port) == 1
