"""Run the tests' upstream in its own process."""

import argparse
import asyncio
import os
import signal
import sys

from tests.upstream.app import start
from tests.upstream.recorder import Recorder


def main() -> None:
    """Serve until SIGINT, SIGTERM or, with --until-eof, the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free port")
    parser.add_argument("--record", action="store_true", help="keep the last requests: GET and DELETE /_recorded")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input is closed")
    asyncio.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    if options.until_eof:
        loop.add_reader(sys.stdin, _stop_at_eof, stop)
    recorder = Recorder() if options.record else None
    server = await start(options.host, options.port, recorder=recorder, expose_recorder=options.record)
    sys.stdout.write(f"listening on {server.host}:{server.port}\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await server.close()


def _stop_at_eof(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


if __name__ == "__main__":
    main()
