"""`python -m bench.soak`: a gateway under twice as many requests as it can answer, for half an hour.

First it measures the time to the first token one by one and the capacity in a closed loop. Then requests come as they
like, with clients that leave or read slowly, errors of the upstream, limited keys, and open dashboards. Afterwards
everything must be as it was. Prints JSON lines on stdout, and its progress on stderr. Ends with 1 for a wrong answer, a
leak or books that do not agree; a missed goal of time is only reported.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from apiproxy.core.turns import ENGINES
from bench.soak.play import Plan, play, slot_settings
from bench.stage import kill_the_rest
from bench.stats import Line, encode_line
from tests.support.processes import clean_environment


def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    cleaned = clean_environment()
    os.environ.clear()
    os.environ.update(cleaned)
    plan = Plan.of(
        minutes=options.minutes,
        rate=options.rate,
        factor=options.factor,
        seed=options.seed,
        engine=options.engine,
        env={**slot_settings(options.engine, options.slots), **dict(options.set)},
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            return asyncio.run(_run(plan, Path(folder), options.json))
        except (KeyboardInterrupt, asyncio.CancelledError):
            _say("broken off")
            return 130
        finally:
            if left := kill_the_rest():
                _say(f"{left} processes had to be killed")


async def _run(plan: Plan, folder: Path, copy: Path | None) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    machine = {"cores": os.cpu_count(), "sdk": version("claude-agent-sdk")}
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(copy.open("wb")) if copy is not None else None

        def report(line: Line) -> None:
            encoded = encode_line({**line, "load_1m": round(os.getloadavg()[0], 1), **machine})
            sys.stdout.buffer.write(encoded)
            sys.stdout.buffer.flush()
            if file is not None:
                file.write(encoded)

        return 0 if await play(plan, folder, report=report, say=_say) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, default="sdk", help="that answers (default sdk)")
    parser.add_argument("--slots", type=int, metavar="N", help="of that engine; http has one for each core")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="of load; 1 is the short form")
    parser.add_argument("--rate", type=float, metavar="R", help="requests a second; without it, twice the capacity")
    parser.add_argument("--factor", type=float, default=2.0, metavar="F", help="of the capacity, instead of twice")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is asked when")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines to this file too")
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a setting of the gateway"
    )
    return parser


def _setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"soak: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
