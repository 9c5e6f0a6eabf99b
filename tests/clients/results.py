"""Outcomes of the last runs, kept in `results.json`: a partial run replaces only its own."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).parent / "results.json"
_DETAIL_CHARS = 300
_LOCATION = re.compile(r"(?:file://)?/\S*/(?=[\w.-]+:\d)")
"""Folder of a line of code, which differs from one machine to the next."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a feature on an engine. detail: the failure. skip: the reason in the client itself why it was not tried."""

    ok: bool
    detail: str = ""
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """Of a client. version and date: of the last run; engines: outcomes by engine and feature."""

    version: str
    date: str
    engines: Mapping[str, Mapping[str, Outcome]]


def read() -> dict[str, Result]:
    """Results by the client's title."""
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return {title: _result(value) for title, value in kept.items()}


def write(results: Mapping[str, Result]) -> None:
    """Replaces the file."""
    kept = {title: asdict(result) for title, result in results.items()}
    for result in kept.values():
        for outcomes in result["engines"].values():
            for outcome in outcomes.values():
                outcome["detail"] = _LOCATION.sub("", " ".join(outcome["detail"].split()))[:_DETAIL_CHARS]
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _result(value: Mapping[str, object]) -> Result:
    engines = value["engines"]
    assert isinstance(engines, dict)
    read = {engine: {name: Outcome(**it) for name, it in told.items()} for engine, told in engines.items()}
    return Result(version=str(value["version"]), date=str(value["date"]), engines=read)
