"""`python -m bench`: measures the gateway beside `claude_agent_sdk.query()` per request, LiteLLM and the bare stand-in.

Prints one JSON line for each scenario on stdout, and its progress on stderr. Ends with 1 where a scenario failed or an
answer was not what it must be to the character; a missed goal is only reported.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.scenarios import SCENARIOS
from bench.stage import FULL, QUICK, Sizes, Stage, kill_the_rest, staged
from bench.stats import Line, encode_line, finished_line
from tests.support.processes import clean_environment

_SCENARIO_TIMEOUT_S = 1_800.0


class _BrokenOff(Exception):  # noqa: N818 — it is none
    """SIGTERM came."""


def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    # The SDK hands this process's environment on to the CLI: nothing of a shell must steer what is measured.
    cleaned = clean_environment()
    os.environ.clear()
    os.environ.update(cleaned)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            return asyncio.run(_run(options, Path(folder)))
        except (KeyboardInterrupt, _BrokenOff):
            _say("broken off")
            return 130
        finally:
            if left := kill_the_rest():
                _say(f"{left} processes had to be killed")


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name}: {scenario.meaning}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"scenarios:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few samples: to try whether it works")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), metavar="NAME", help="these scenarios alone")
    parser.add_argument(
        "--litellm",
        type=Path,
        metavar="VENV",
        help="compare with the LiteLLM in this virtual environment, do not install one",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines to this file too")
    return parser


async def _run(options: argparse.Namespace, folder: Path) -> int:
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    sizes = QUICK if options.quick else FULL
    measuring = asyncio.create_task(_measure(folder, sizes, _chosen(options.only), options.litellm))
    watching = asyncio.create_task(terminated.wait())
    await asyncio.wait((measuring, watching), return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    if not measuring.done():
        measuring.cancel()
        await asyncio.wait((measuring,))
        raise _BrokenOff
    lines = measuring.result()
    if options.json is not None:
        await asyncio.to_thread(options.json.write_bytes, b"".join(map(encode_line, lines)))
    return 1 if any("error" in line for line in lines) else 0


async def _measure(folder: Path, sizes: Sizes, names: Sequence[str], litellm: Path | None) -> list[Line]:
    _say("starting the stand-in and the gateway")
    async with staged(folder, sizes, litellm_venv=litellm) as stage:
        return [await measured_line(stage, name) for name in names]


def _chosen(only: Sequence[str] | None) -> list[str]:
    """The names in the order of the scenarios."""
    return [name for name in SCENARIOS if only is None or name in only]


async def measured_line(stage: Stage, name: str) -> Line:
    """Runs the scenario and prints its line, one with `error` where it failed."""
    scenario = SCENARIOS[name]
    _say(f"{name} …")
    started_at = time.monotonic()
    machine = {"cores": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 1), "sdk": version("claude-agent-sdk")}
    try:
        async with asyncio.timeout(_SCENARIO_TIMEOUT_S):
            line = finished_line(name, await scenario.run(stage), scenario.goals, machine)
    except Exception as error:  # noqa: BLE001 — whatever it is, the others are worth measuring; the exit code tells
        line = finished_line(name, {"error": _reason(error)}, (), machine)
    _say(f"{name}: {time.monotonic() - started_at:.1f} s")
    sys.stdout.buffer.write(encode_line(line))
    sys.stdout.buffer.flush()
    return line


def _reason(error: Exception) -> str:
    """The first of a group's errors stands for all of them."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
