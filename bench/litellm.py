"""LiteLLM's proxy in one process, installed into an environment of its own, for comparison."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import psutil

from bench.questions import MODEL
from tests.support.processes import LoggedProcess, clean_environment, is_alive
from tests.support.waiting import eventually_async

VERSION = "1.108.0"
KEY = "sk-bench"
_INSTALL_S = 600.0
_START_S = 180.0
_STOP_S = 15.0
_PIP_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.lower().endswith("_proxy")
}
"""Read at the import: the benchmark clears its environment."""


class LiteLLMUnavailableError(Exception):
    """LiteLLM could not be installed or started; the text says why."""


async def install(folder: Path) -> Path:
    """New virtual environment with LiteLLM. Raises LiteLLMUnavailableError."""
    await _run(sys.executable, "-m", "venv", str(folder))
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", f"litellm[proxy]=={VERSION}")
    await _run(str(folder / "bin" / "python"), *pip)
    return folder


@contextlib.asynccontextmanager
async def started(venv: Path, folder: Path, *, upstream: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Address and process of a running proxy in front of the upstream. Raises LiteLLMUnavailableError."""
    await asyncio.to_thread(folder.mkdir)
    parameters = {"model": f"anthropic/{MODEL}", "api_base": upstream, "api_key": "bench"}
    config = folder / "config.yaml"  # JSON is YAML
    model_list = [{"model_name": MODEL, "litellm_params": parameters}]
    await asyncio.to_thread(config.write_bytes, orjson.dumps({"model_list": model_list}))
    port = _free_port()
    env = clean_environment(
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_MASTER_KEY=KEY,
        LITELLM_LOG="ERROR",
        HOME=str(folder),
    )
    arguments = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    command = [str(venv / "bin" / "litellm"), *arguments, "--telemetry", "False"]
    process = LoggedProcess(command, log=folder / "litellm.log", env=env, python=str(venv / "bin" / "python"))
    address = f"http://127.0.0.1:{port}"
    try:
        try:
            await eventually_async(lambda: _is_ready(address, process.pid), within_s=_START_S, why="LiteLLM is ready")
        except AssertionError as error:
            raise LiteLLMUnavailableError(f"it did not start: {process.output[-500:]}") from error
        yield address, psutil.Process(process.pid)
    finally:
        await asyncio.to_thread(process.stop, within_s=_STOP_S)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**clean_environment(), **_PIP_ENVIRONMENT},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_INSTALL_S):
            _, errors = await process.communicate()
    except TimeoutError as error:
        raise LiteLLMUnavailableError(f"the installation took more than {_INSTALL_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise LiteLLMUnavailableError(f"the installation failed: {errors.decode(errors='replace')[-500:]}")


def _is_ready(address: str, pid: int) -> bool:
    if not is_alive(pid):
        raise AssertionError("the process has ended")
    try:
        return httpx.get(f"{address}/health/liveliness", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
