"""`make audit`: known vulnerabilities in what requirements.lock installs, as far as somebody can be asked about them.

Exit code 1 for a vulnerability, and for nothing else: behind an index that knows none, it says how many it could not
ask about. As a module: `python -m tests.support.audit`.
"""

import json
import subprocess
import sys

from tests.support.processes import ROOT

_TIMEOUT_S = 120


def main() -> int:
    """Asks, and tells."""
    command = ["-m", "pip_audit", "-r", "requirements.lock", "--disable-pip", "--require-hashes", "-f", "json"]
    try:
        done = subprocess.run(
            [sys.executable, *command, "--progress-spinner", "off"],
            cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("Nobody could be asked about vulnerabilities.")
        return 0
    skipped = sum("skip_reason" in dependency for dependency in found)
    bad = [(it["name"], it["version"], vuln["id"]) for it in found for vuln in it.get("vulns", ())]
    for name, version, vulnerability in bad:
        print(f"{name} {version}: {vulnerability}")
    print(f"{len(found) - skipped} packages audited, {skipped} unknown to the index, {len(bad)} vulnerabilities")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
