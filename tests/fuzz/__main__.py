"""`make fuzz`: the long run, with the counts as they come. Exit code 1 where anything went wrong."""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()  # schemathesis reads the document, which the site makes

from django.conf import settings  # noqa: E402

from apiproxy.core.turns import ENGINES  # noqa: E402
from tests.fuzz.campaign import fire, shares  # noqa: E402
from tests.fuzz.target import Target  # noqa: E402
from tests.support.stand_in import StandInProcess  # noqa: E402

DEFAULT_CASES = 10_000
_SHOWN_CHARS = 1_000


def main() -> int:
    """Fires, and tells."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=DEFAULT_CASES, help=f"how many (default {DEFAULT_CASES})")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="the same inputs again")
    parser.add_argument("--engine", choices=ENGINES, default="sdk", help="that answers (default sdk)")
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.cases} cases, engine {options.engine}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="gateway-fuzz-"))
    stand_in = StandInProcess(folder)
    failures = 0
    try:
        target = Target(folder, upstream=stand_in.base_url, engine=options.engine)
        for kind, cases in shares(options.cases):
            begun = time.monotonic()
            try:
                took = fire(target, kind, cases=cases, number=options.seed)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other kinds are still to come
                failures += 1
                print(f"{kind.name}: FAILED\n{type(error).__name__}: {_shortened(str(error))}", flush=True)
            else:
                print(f"{kind.name}: {cases} cases, {took} requests, {time.monotonic() - begun:.0f} s", flush=True)
            stand_in.clear()
        target.close()
        statuses = ", ".join(f"{status or 'closed'} × {count}" for status, count in sorted(target.statuses.items()))
        print(f"{target.cases} requests: {statuses}; {failures} kinds failed", flush=True)
    finally:
        stand_in.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(settings.GATEWAY.state_dir, ignore_errors=True)
    return 1 if failures else 0


def _shortened(text: str) -> str:
    """Both ends: an input may have megabytes."""
    return text if len(text) <= 2 * _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} … {text[-_SHOWN_CHARS:]}"


if __name__ == "__main__":
    sys.exit(main())
