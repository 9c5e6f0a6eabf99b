"""Drift check: what the official packages' types have that the gateway has not been checked for.

`known.json` lists the blocks, events, tools, request fields, betas, … that somebody has looked at. A new version of
`anthropic` or `openai` that adds a name fails the check until the gateway carries it, or drops it and says so, and the
name is accepted:

    python -m tests.clients.drift             lists what is new in the versions of the lab; exit code 1 for any
    python -m tests.clients.drift --locked    in the locked versions of this environment
    python -m tests.clients.drift --accept    adds it to known.json
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.clients.install import PROGRAMS, interpreter

KNOWN = Path(__file__).parent / "known.json"
_WITHIN_S = 120.0

Names = Mapping[str, Mapping[str, Sequence[str]]]
"""By package and kind."""


def inventory(python: str) -> Names:
    """The names in the packages that this Python has."""
    command = [python, str(PROGRAMS / "inventory.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_WITHIN_S).stdout
    names: Names = json.loads(printed)
    return names


def known() -> Names:
    """The accepted names."""
    names: Names = json.loads(KNOWN.read_text(encoding="utf-8"))
    return names


def added(found: Names, accepted: Names) -> list[str]:
    """A line for each name that is not accepted."""
    return [
        f"{package}, {kind}: {name}"
        for package, kinds in found.items()
        for kind, names in kinds.items()
        for name in names
        if name not in accepted.get(package, {}).get(kind, ())
    ]


def news() -> list[str]:
    """Additions in the versions of the lab."""
    return added(inventory(str(interpreter("official"))), known())


def accept(found: Names) -> None:
    """Adds the names to those that are known."""
    accepted = known() if KNOWN.exists() else {}
    merged = {
        package: {kind: sorted({*names, *accepted.get(package, {}).get(kind, ())}) for kind, names in kinds.items()}
        for package, kinds in found.items()
    }
    KNOWN.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    found = inventory(sys.executable if "--locked" in arguments else str(interpreter("official")))
    if "--accept" in arguments:
        accept(found)
        return 0
    lines = added(found, known())
    print("\n".join(lines) or "Nothing is new.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
