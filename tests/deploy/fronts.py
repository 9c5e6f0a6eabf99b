"""The reverse proxies of deploy/ as they ship, with only names, ports and the certificate put in, before a gateway."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.processes import ROOT, clean_environment
from tests.support.waiting import eventually

DEPLOY = ROOT / "deploy"
HOST = "localhost"
CLIENT_IP = "127.0.0.2"
"""Where our clients call from; neither the gateway's nor the proxy's address."""

_START_S = 20.0
_STOP_S = 20.0
_TIMEOUT_S = 60.0
_UPSTREAMS = "127.0.0.1:{first}", "127.0.0.1:{second}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for `localhost` that signs itself."""

    path: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificate":
        """Makes one by openssl, as an operator would."""
        path, key = folder / "front.pem", folder / "front.key"
        subprocess.run(
            [find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
             "-keyout", str(key), "-out", str(path)],
            check=True, capture_output=True,
        )  # fmt: skip
        return cls(path, key)

    def trusted(self) -> ssl.SSLContext:
        """Certificate authority that a client must trust."""
        return ssl.create_default_context(cafile=str(self.path))


@dataclass(frozen=True, slots=True)
class Front:
    """A running reverse proxy."""

    pid: int
    port: int
    plain_port: int | None
    trusted: ssl.SSLContext

    @property
    def url(self) -> str:
        """Address of the reverse proxy."""
        return f"https://{HOST}:{self.port}"

    def client(self, **headers: str) -> httpx.Client:
        """A client that calls from CLIENT_IP."""
        transport = httpx.HTTPTransport(verify=self.trusted, local_address=CLIENT_IP)
        return httpx.Client(base_url=self.url, transport=transport, headers=headers, timeout=_TIMEOUT_S)


Starter = Callable[[Path, Certificate, Sequence[int]], "tuple[list[str], int, int | None]"]


def nginx(folder: Path, certificate: Certificate, upstreams: Sequence[int]) -> tuple[list[str], int, int | None]:
    """The command that runs deploy/nginx.conf, and its ports."""
    port, plain = free_port(), free_port()
    shipped = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    site = replaced(
        shipped,
        {
            "listen 80;": f"listen {plain};",
            "listen 443 ssl;": f"listen {port} ssl;",
            "server_name gateway.example.org;": f"server_name {HOST};",
            "/etc/ssl/gateway.example.org.pem": str(certificate.path),
            "/etc/ssl/gateway.example.org.key": str(certificate.key),
            "127.0.0.1:3456": f"127.0.0.1:{upstreams[0]}",
            "127.0.0.1:3457": f"127.0.0.1:{upstreams[1]}",
        },
    )
    (folder / "site.conf").write_text(site, encoding="utf-8")
    folders = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # its workers read and write in the test's folder
    main = (
        f"{user} daemon off; worker_processes 2; pid {folder / 'pid'}; error_log stderr;"
        f"events {{ worker_connections 256; }} http {{ access_log off; {folders} include {folder / 'site.conf'}; }}"
    )
    (folder / "main.conf").write_text(main, encoding="utf-8")
    command = [find("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "main.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=True)
    assert "[warn]" not in checked.stderr, checked.stderr
    return command, port, plain


def caddy(folder: Path, certificate: Certificate, upstreams: Sequence[int]) -> tuple[list[str], int, int | None]:
    """The command that runs deploy/Caddyfile, and its port."""
    port = free_port()
    site = replaced(
        (DEPLOY / "Caddyfile").read_text(encoding="utf-8"),
        {
            "\ngateway.example.org {": f"\nhttps://{HOST}:{port} {{\n\ttls {certificate.path} {certificate.key}",
            "127.0.0.1:3456 127.0.0.1:3457": f"127.0.0.1:{upstreams[0]} 127.0.0.1:{upstreams[1]}",
        },
    )
    path = folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + site, encoding="utf-8")
    return [find("caddy"), "run", "--adapter", "caddyfile", "--config", str(path)], port, None


@contextmanager
def running(starter: Starter, folder: Path, upstreams: Sequence[int]) -> Iterator[Front]:
    """The reverse proxy, once it takes connections; ended by its id."""
    certificate = Certificate.make(folder)
    command, port, plain_port = starter(folder, certificate, upstreams)
    log = folder / "front.log"
    with log.open("wb") as output:
        # Caddy keeps things in the home folder.
        process = subprocess.Popen(command, stdout=output, stderr=output, env=clean_environment(HOME=str(folder)))
    try:
        eventually(lambda: _listens(port) or process.poll() is not None, within_s=_START_S)
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield Front(process.pid, port, plain_port, certificate.trusted())
    finally:
        process.terminate()
        process.wait(_STOP_S)


@contextmanager
def nobody() -> Iterator[int]:
    """A port that stays reserved while nothing listens on it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def find(program: str) -> str:
    """The program's path; the test is skipped where it is missing, and fails in CI."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        assert not os.environ.get("CI"), f"CI must have {program}"
        pytest.skip(f"no {program} on this machine")
    return path


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with all of these put in; AssertionError where one has no place in it."""
    for old in changes:
        assert old in text, f"the example no longer says {old!r}"
    return re.sub("|".join(map(re.escape, changes)), lambda found: changes[found[0]], text)


def free_port() -> int:
    """A port that is free now."""
    with nobody() as port:
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
