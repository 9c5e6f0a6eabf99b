"""`make audit`: known vulnerabilities in what requirements.lock installs.

Exit codes: 0 where every package was looked up and none is vulnerable; 1 for a vulnerability, and where some package
could not be looked up. With --allow-no-advisories, 0 as well where the index has no advisories at all, which is said in
a line that cannot be overlooked; one that knows some packages and not others still fails. As a module:
`python -m tests.support.audit`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.support.processes import ROOT

_TIMEOUT_S = 120
_NONE = "NOT AUDITED: the package index knows no advisories. No package was checked for vulnerabilities."


def main(arguments: Sequence[str]) -> int:
    """Asks, and tells."""
    try:
        found = _asked()
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("NOT AUDITED: the package index did not answer.")
        return 1
    return verdict(found, allow_no_advisories="--allow-no-advisories" in arguments)


def verdict(found: Sequence[dict[str, Any]], *, allow_no_advisories: bool = False) -> int:
    """The exit code for what pip-audit has found; prints why."""
    unknown = [dependency["name"] for dependency in found if "skip_reason" in dependency]
    bad = [(it["name"], it["version"], vuln["id"]) for it in found for vuln in it.get("vulns", ())]
    for name, version, vulnerability in bad:
        print(f"{name} {version}: {vulnerability}")
    print(f"{len(found) - len(unknown)} packages audited, {len(unknown)} unknown, {len(bad)} vulnerabilities")
    if len(unknown) == len(found):
        print(_NONE)
        return 0 if found and allow_no_advisories else 1
    if unknown:
        print(f"NOT AUDITED: {', '.join(unknown)}")
    return 1 if bad or unknown else 0


def _asked() -> list[dict[str, Any]]:
    command = ["-m", "pip_audit", "-r", "requirements.lock", "--disable-pip", "--require-hashes", "-f", "json"]
    done = subprocess.run(
        [sys.executable, *command, "--progress-spinner", "off"],
        cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return dependencies


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
