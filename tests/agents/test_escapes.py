"""Attempts to get out of the jail, by real programs in a real one, with the gateway as root and as an ordinary user."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from apiproxy.engines.agents.folder import AgentFolder
from apiproxy.engines.agents.jail import Jail, JailLimits
from apiproxy.engines.sdk.launch import bundled_cli
from tests.support.agent_cli import KEY, AgentRun, agent_run, end
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.asyncio, pytest.mark.long]

SECRET = "canary-of-the-gateway"
ORDINARY_UID = 64_999
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """A jail to try. run: whose socket is in it. outside: files and sockets of the gateway that must stay closed."""

    run: AgentRun
    ordinary: bool
    outside: Path
    port: int

    async def try_out(self, command: str) -> str:
        """Output of a command in the jail."""
        argv = Jail(folder=self.folder, cli=bundled_cli(), limits=JailLimits()).command(
            ["/bin/bash", "-c", command], files=["model.sock"]
        )
        if self.ordinary:
            for path in (self.folder.path, *self.folder.path.iterdir()):
                os.chown(path, ORDINARY_UID, ORDINARY_UID)
            argv = ["setpriv", f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups", "--", *argv]
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/home/agent",
                "ANTHROPIC_API_KEY": self.run.socket.token,
                "OUTSIDE": str(self.outside),
                "CHECKOUT": str(ROOT),
                "FOLDER": str(self.folder.path),
                "PORT": str(self.port),
                "GATEWAY": str(os.getpid()),
            },
        )
        try:
            async with asyncio.timeout(30):
                output, _ = await process.communicate()
        finally:
            await end(process)
        return output.decode(errors="replace")

    @property
    def folder(self) -> AgentFolder:
        return AgentFolder(self.run.folder.path) if self.ordinary else self.run.folder


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder with a secret that the file modes do not protect."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="gateway-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in ("secret", "db.sqlite3", "agents/other-run/system.txt"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(SECRET)
            (folder / path).chmod(0o644)
        yield folder


@pytest.fixture(params=[False, True], ids=["root", "ordinary user"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, outside: Path) -> AsyncIterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("changes its user, which needs root")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with agent_run("http://127.0.0.1:9", tmp_path) as run:
            yield Place(run, request.param, outside, listener.getsockname()[1])


READING = {
    "file of the gateway": "cat $OUTSIDE/secret",
    "database": "cat $OUTSIDE/db.sqlite3",
    "folder of another run": "cat $OUTSIDE/agents/other-run/system.txt",
    "symlink in the workspace": "ln -s $OUTSIDE/secret /workspace/a; cat /workspace/a",
    "symlink of a folder": "ln -s $OUTSIDE /workspace/b; cat /workspace/b/secret",
    "root of process 1": "cat /proc/1/root$OUTSIDE/secret",
    "working folder of process 1": "cat /proc/1/cwd/$OUTSIDE/secret",
    "root of the gateway": "cat /proc/$GATEWAY/root$OUTSIDE/secret",
    "climbing up": "cd /workspace; cat ../../../../../../..$OUTSIDE/secret",
    "search": "grep -rs canary-of-the-gateway /var /tmp /run /etc /home /srv /mnt /opt; true",
    "chroot": "chroot /proc/1/root /bin/cat $OUTSIDE/secret",
    "handles": "python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(304, -100, 0, 0))'; cat $OUTSIDE/secret",
    "hard link": "ln $OUTSIDE/secret /workspace/c; cat /workspace/c",
    "mount": "mount --bind / /workspace; cat /workspace$OUTSIDE/secret",
    "user namespace": "unshare -Urm sh -c 'mount --bind / /mnt; cat /mnt$OUTSIDE/secret'",
    "namespace of process 1": "nsenter -t 1 -a cat $OUTSIDE/secret",
    "disk device": "mknod /workspace/d b 254 0; cat /workspace/d | head -c 100; cat $OUTSIDE/secret",
    "setuid program": 'su -c "cat $OUTSIDE/secret" < /dev/null',
}


@pytest.mark.parametrize("attempt", READING)
async def test_read_nothing_of_the_gateway(place: Place, attempt: str) -> None:
    output = await place.try_out(READING[attempt])
    assert SECRET not in output.replace("grep", ""), output
    assert output or attempt == "search"


FAILING = {
    "checkout": ("ls $CHECKOUT", "No such file"),
    "root's home": ("ls /root", "No such file"),
    "shadow file": ("cat /etc/shadow", "No such file"),
    "write to the system": ("echo x > /usr/bin/x", "Read-only file system"),
    "write to the root": ("echo x > /x", "Read-only file system"),
    "write to devices": ("echo x > /dev/x", "Read-only file system"),
    "replace the CLI": ("echo x > /run/agent/claude", "Read-only file system|Permission denied"),
    "core pattern": ("echo '|/workspace/x' > /proc/sys/kernel/core_pattern", "Read-only file system|Permission denied"),
    "kernel knob": ("echo 1 > /proc/sys/net/ipv4/ip_forward", "Read-only file system|Permission denied"),
    "sysrq": ("echo b > /proc/sysrq-trigger", "No such file|Read-only file system|Permission denied"),
    "loopback": ("echo > /dev/tcp/127.0.0.1/$PORT", "Connection refused"),
    "network": ("echo > /dev/tcp/192.0.2.1/80", "Network is unreachable"),
    "new namespaces": ("unshare -U true", "Operation not permitted"),
    "trace the first process": (
        "python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); "
        "print(l.ptrace(16, 1, 0, 0), ctypes.get_errno())'",
        "-1 1",
    ),
    "sockets of virtual machines": ("python3 -c 'import socket; socket.socket(40)'", "Address family not supported"),
    "packet sockets": ("python3 -c 'import socket; socket.socket(17, 3)'", "Address family not supported"),
    "kernel keys": ("python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(250, 0, 0))'", "-1"),
    "raise the limits": ("ulimit -n 4096", "Operation not permitted"),
}


@pytest.mark.parametrize("attempt", FAILING)
async def test_fail_for_the_right_reason(place: Place, attempt: str) -> None:
    command, reason = FAILING[attempt]
    output = await place.try_out(f"{command} 2>&1; true")
    assert any(part in output for part in reason.split("|")), output


async def test_see_only_own_processes_and_environment(place: Place) -> None:
    output = await place.try_out("cat /proc/[0-9]*/environ | tr '\\0' '\\n'; ls /proc | grep -c '^[0-9]'")
    names = {line.partition("=")[0] for line in output.splitlines()[:-1] if "=" in line}
    assert names <= {*("PATH", "HOME", "ANTHROPIC_API_KEY", "OUTSIDE", "CHECKOUT", "FOLDER", "PORT", "GATEWAY")} | {
        *("PWD", "OLDPWD", "SHLVL", "_")
    }
    assert int(output.split()[-1]) < 12
    assert KEY not in output


async def test_connect_to_no_abstract_socket(place: Place) -> None:
    name = f"gateway-{os.getpid()}-{place.port}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + '{name}')"
        assert "ConnectionRefusedError" in await place.try_out(f'python3 -c "{code}"')


async def test_find_the_real_key_nowhere(place: Place) -> None:
    output = await place.try_out(f"grep -rsl {KEY} /run /etc /proc/[0-9]*/environ /home /tmp /workspace; echo over")
    assert output == "over\n"


@pytest.mark.parametrize(
    ("path", "token", "model", "status"),
    [
        ("/v1/messages", "wrong", "claude-test", "401"),
        ("/v1/files", "$ANTHROPIC_API_KEY", "claude-test", "404"),
        ("/v1/models", "$ANTHROPIC_API_KEY", "claude-test", "404"),
        ("/v1/messages", "$ANTHROPIC_API_KEY", "claude-other", "403"),
    ],
)
async def test_misuse_the_socket(place: Place, path: str, token: str, model: str, status: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    body = orjson.dumps({"model": model, "max_tokens": 5, "messages": []}).decode()
    output = await place.try_out(
        f"curl -s -o /dev/null -w '%{{http_code}}' --unix-socket /run/agent/model.sock -H \"x-api-key: {token}\" "
        f"-d '{body}' http://x{path}"
    )
    assert output == status
    assert place.run.metered.meter.calls == 0


async def test_reach_no_socket_of_another_run(place: Place, tmp_path: Path) -> None:
    async with agent_run("http://127.0.0.1:9", tmp_path) as other:
        output = await place.try_out(f"curl -s --unix-socket {other.folder.socket} http://x/; echo $?")
        assert output.strip() == "7"
        assert other.folder.uid != place.run.folder.uid


async def test_leave_no_process_and_no_file(place: Place) -> None:
    mark = f"86{place.port}"
    output = await place.try_out(f"(setsid sleep {mark} > /dev/null 2>&1 &); echo x > /workspace/kept; echo started")
    assert output == "started\n"
    await eventually_async(lambda: not is_running_with(mark))
    assert not [path.name for path in place.folder.path.iterdir() if path.name == "kept"]


def is_running_with(argument: str) -> bool:
    """True if a process has that argument."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument.encode() in path.read_bytes():
                return True
    return False
