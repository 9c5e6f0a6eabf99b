"""`manage.py` in an odd world: another CLI than the bundled one, a clock that jumps, or a part that fails.

    python tests/support/odd_manage.py [--cli PATH] [--clock] serve

With --clock, SIGUSR1 sets the wall clock an hour forward, and SIGUSR2 two hours back. Where the variable ODD_FAILS is
`module:name`, such as `apiproxy.standin:start`, that raises: here, and in the processes that are started by this one.
"""

import importlib
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from apiproxy.engines.sdk import launch

HOUR_S = 3600.0

_real = time.time
_offset_s = 0.0


def _jump(number: int, _: object) -> None:
    global _offset_s
    _offset_s += HOUR_S if number == signal.SIGUSR1 else -2 * HOUR_S


def _break(target: str) -> None:
    """Makes what is named raise: a RuntimeError, or what stands after a second colon."""
    import builtins

    import django

    django.setup()
    module, name, *kind = target.split(":")
    *path, last = name.split(".")
    owner = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)
    error = getattr(builtins, *kind) if kind else RuntimeError

    def fail(*_: object, **__: object) -> None:
        raise error("injected")

    setattr(owner, last, fail)


def main(arguments: list[str]) -> None:
    while arguments[0].startswith("--"):
        if arguments.pop(0) == "--cli":
            launch.bundled_cli = partial(Path, arguments.pop(0))
        else:
            time.time = lambda: _real() + _offset_s
            signal.signal(signal.SIGUSR1, _jump)
            signal.signal(signal.SIGUSR2, _jump)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
    if target := os.environ.get("ODD_FAILS"):
        _break(target)
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
